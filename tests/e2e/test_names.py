"""Whatever a model is called in a request, the answer is a problem and nothing falls over."""

import urllib.parse

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ANY = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=80),
    st.sampled_from(["../tiny", "..", ".", "%2e%2e", "tiny/../tiny", "tiny\x00", "@1", "a" * 65]),
    st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}(@[0-9]{1,12})?", fullmatch=True),
)
KNOWN = {"tiny", "plain"}
QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(name=ANY)
@QUICK
def test_no_name_in_a_body_is_more_than_unknown(client: httpx.Client, name: str) -> None:
    if name.partition("@")[0] in KNOWN:
        return
    answer = client.post("/v1/generations", json={"model": name})
    assert answer.status_code in (404, 422), answer.text
    assert answer.json()["code"] in ("model_not_found", "invalid_request")


@given(name=ANY)
@QUICK
def test_no_name_in_a_path_is_more_than_unknown(client: httpx.Client, name: str) -> None:
    if name in KNOWN or not name:
        return
    answer = client.get(f"/v1/models/{urllib.parse.quote(name, safe='')}")
    assert answer.status_code in (200, 307, 404, 422), answer.text
    if answer.status_code == 200:  # "." and "..": the client takes them out of the address
        assert name.strip(".") == ""
