"""Bodies that mean harm cost the API next to nothing: processor time, memory, and what it answers.

Measured on an API process of the test's own: processor time of all its threads, and the peak of its
resident memory, as the kernel counts them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.structure import MOST_VALUES, TooComplex, check
from tests.e2e.service import Service

MIB = 1024 * 1024
JSON = {"content-type": "application/json"}
ROUTES = ("/v1/generations", "/v1/images/generations")
HOSTILE = {
    "empty lists": b'{"class":[' + b"[]," * 349_000 + b"[]]}",
    "empty objects": b'{"class":[' + b"{}," * 349_000 + b"{}]}",
    "wrong classes": b'{"class":[' + b"1.5," * 262_000 + b"1]}",
    "unknown fields": b"{" + b",".join(b'"x%d":1' % n for n in range(90_000)) + b"}",
    "one field again and again": b"{" + b'"seed":1,' * 116_000 + b'"seed":1}',
    "the most values that are parsed, all wrong": b'{"class":['
    + b"1.5," * (MOST_VALUES - 3)
    + b"1]}",
    "the most fields that are parsed, with long names": b"{"
    + b",".join(b'"%d%s":1' % (n, b"\xc3\xa9" * 500) for n in range(MOST_VALUES))
    + b"}",
    "deep lists": b"[" * MIB,
    "deep fields": b'{"class":' * 116_000,
    "deep and whole": b'{"class":' + b"[" * 400 + b"]" * 400 + b"}",
    "closing brackets": b"]" * MIB,
    "quotes": b'"' * MIB,
    "empty strings": b'{"class":[' + b'"",' * 349_000 + b'""]}',
    "escaped quotes": b'{"class":"' + rb"\"" * 524_000 + b'"}',
    "backslashes": b'{"class":"' + rb"\\" * 524_000 + b'"}',
    "surrogates": b'{"class":"' + rb"\ud800" * 174_000 + b'"}',
    "a long name": b'{"' + b"\xf0\x9f\x98\x80" * 262_000 + b'":1}',
    "a long value": b'{"model":"' + b"\xc2\x80" * 524_000 + b'"}',
    "a long whole number": b'{"seed":' + b"9" * (MIB - 9) + b"}",
    "a long whole number that is parsed": b'{"steps":' + b"9" * 4300 + b"}",
    "a long fraction": b'{"eta":0.' + b"1" * (MIB - 10) + b"}",
    "a long exponent": b'{"eta":1e' + b"9" * (MIB - 10) + b"}",
    "UTF-16 whose bytes look like quotes": '{"\u2200":['.encode("utf-16")
    + "[],".encode("utf-16-le") * 174_000,
    "UTF-32": '{"class":['.encode("utf-32") + "[],".encode("utf-32-le") * 87_000,
}


@dataclass(frozen=True)
class Api:
    """One API process, and what the kernel says of it."""

    client: httpx.Client
    pid: int

    def seconds(self) -> float:
        """Processor time of all its threads so far."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def peak(self) -> int:
        """The most memory it ever had, in bytes."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


@pytest.fixture
def api(service: Service) -> Iterator[Api]:
    with service.another_api() as url, httpx.Client(base_url=url, timeout=60) as client:
        for route in ROUTES:
            client.post(route, json={"prompt": "nothing", "steps": 0})
            client.post(route, content=b'{"class":"' + b"x" * (MIB - 12) + b'"}', headers=JSON)
        yield Api(client, service.processes[-1].pid)


@pytest.mark.parametrize("route", ROUTES)
def test_hostile_bodies_cost_next_to_nothing(api: Api, route: str) -> None:
    peak = api.peak()
    for name, body in HOSTILE.items():
        assert len(body) <= MIB, name
        costs = []
        for _ in range(3):
            before = api.seconds()
            answer = api.client.post(route, content=body, headers=JSON)
            costs.append(api.seconds() - before)
            assert 400 <= answer.status_code < 500, (name, answer.text[:300])
            assert len(answer.content) < 16_000, name
        assert min(costs) < 0.05, (name, costs)
        assert api.peak() - peak < 20 * MIB, name


def test_what_is_refused_is_told_why(api: Api) -> None:
    for name, words in {
        "unknown fields": f"the body holds 90000 values or more, above the most, {MOST_VALUES}",
        "deep and whole": "the body is nested deeper than 16 levels",
        "UTF-32": "the body is not UTF-8",
    }.items():
        answer = api.client.post(ROUTES[0], content=HOSTILE[name], headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        assert words in answer.json()["detail"]
        envelope = api.client.post(ROUTES[1], content=HOSTILE[name], headers=JSON)
        assert envelope.status_code == 400
        assert words in envelope.json()["error"]["message"]


def test_many_wrong_fields_are_told_in_a_bounded_answer(api: Api) -> None:
    answer = api.client.post(ROUTES[0], json={f"field{n}": n for n in range(MOST_VALUES - 1)})
    fields = [error["field"] for error in answer.json()["errors"]]
    assert fields == [f"field{n}" for n in range(16)]


def test_long_texts_are_no_reason_to_refuse() -> None:
    prompts = ["\\\"'[{,:" * 125] * 64
    picture = "data:image/png;base64," + "A" * (MIB // 2)
    check(
        json.dumps({"prompt": prompts, "negative_prompt": prompts, "init_image": picture}).encode()
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


@given(value=values, ascii_=st.booleans())
@example(value='\\"[', ascii_=False)
@example(value=["\\", "[" * 50], ascii_=True)
def test_what_holds_little_passes(value: object, ascii_: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_)
    check(text.encode("utf-8", "surrogatepass"))


@given(value=values, extra=st.integers(1, 50))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_what_holds_too_much_does_not(value: object, extra: int) -> None:
    with pytest.raises(TooComplex, match="above the most"):
        check(json.dumps([value, *[0] * (MOST_VALUES + extra)]).encode())
