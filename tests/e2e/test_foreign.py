"""Names and pages that are not the server's own: refused where no API key keeps them out."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from app.hosts import parse_hosts
from app.settings import AppSettings
from tests.e2e.service import Service
from tests.e2e.test_limits import problem

OURS = ("localhost", "LOCALHOST:1234", "127.0.0.1", "127.8.9.10:80", "[::1]", "[::1]:8000")
FOREIGN = (
    *("example.org", "localhost.example.org", "127.0.0.1.example.org", "notlocalhost", ""),
    *("192.168.1.5:8000", "0.0.0.0", "[::2]", "localhost@example.org", "[::1].example.org", "é"),
)
ROUTES = (
    "/",
    "/docs",
    "/static/page.js",
    "/openapi.json",
    "/v1/models",
    "/v1/generations",
    "/nowhere",
)
PROBES = ("/livez", "/readyz", "/metrics")


def status(client: httpx.Client, path: str, **headers: str) -> int:
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    return client.get(path, headers=sent).status_code


def test_a_server_without_keys_answers_to_this_machines_names_only(client: httpx.Client) -> None:
    for path in ROUTES:
        assert {status(client, path, Host=host) for host in OURS} <= {200, 404}
        assert {status(client, path, Host=host) for host in FOREIGN} == {421}, path
    answer = client.post("/v1/generations", json={}, headers={"Host": "rebound.example:8000"})
    assert problem(answer) == (421, "foreign_host")
    assert "'rebound.example:8000'" in answer.json()["detail"]
    assert "EMAKI_ALLOWED_HOSTS" in answer.json()["detail"]
    openai = client.post("/v1/images/generations", json={}, headers={"Host": "rebound.example"})
    assert (openai.status_code, openai.json()["error"]["code"]) == (421, "foreign_host")


def test_probes_find_a_process_by_its_address_but_not_by_a_name(service: Service) -> None:
    with service.client() as client:
        for path in PROBES:
            assert status(client, path, Host="10.1.2.3:8000") == 200
            assert status(client, path, Host="[fd00::1]:8000") == 200
            assert status(client, path, Host="rebound.example") == 421
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_two_hosts_are_none(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: x.example\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 421 ")


def test_pages_of_other_sites_may_not_ask_a_server_without_keys(service: Service) -> None:
    own = (service.url, f"http://localhost:{service.port}")
    others = (
        "https://example.org",
        "null",
        "http://localhost:1",
        f"http://127.0.0.1:{service.port}1",
    )
    with service.client() as client:
        for origin in own:
            host = origin.removeprefix("http://")
            made = client.post("/v1/generations", headers={"Origin": origin, "Host": host})
            assert made.status_code == 202
        before = client.get("/v1/generations?limit=100").json()["data"]
        for origin in others:
            # What a form or a script of any page can send without asking first.
            sent = {"Origin": origin, "Content-Type": "text/plain"}
            for answer in (
                client.post("/v1/generations", headers={"Origin": origin}),
                client.post("/v1/generations", headers=sent, content=b"{}"),
                client.post(f"{made.json()['urls']['cancel']}", headers=sent),
            ):
                assert problem(answer) == (421, "foreign_origin")
        assert client.get("/v1/generations?limit=100").json()["data"][0]["id"] == before[0]["id"]
    with service.another_api(EMAKI_CORS_ORIGINS="https://example.org") as url:
        asked = [httpx.post(f"{url}/v1/generations", headers={"Origin": o}) for o in others[:2]]
    assert [answer.status_code for answer in asked] == [202, 421]


@pytest.fixture(scope="module")
def keyed(service: Service) -> Iterator[httpx.Client]:
    hosts = "emaki.example.org,*.pictures.example,[::1]"
    with (
        service.another_api(EMAKI_API_KEYS="a", EMAKI_ALLOWED_HOSTS=hosts) as url,
        httpx.Client(base_url=url, headers={"Authorization": "Bearer a"}) as client,
    ):
        yield client


def test_the_names_of_a_server_can_be_told(keyed: httpx.Client) -> None:
    for host in ("emaki.example.org", "EMAKI.example.org.:443", "a.b.pictures.example", "[::1]:1"):
        assert status(keyed, "/v1/models", Host=host) == 200
    for host in ("localhost", "127.0.0.1", "pictures.example", "xemaki.example.org", ""):
        assert status(keyed, "/v1/models", Host=host) == 421
    assert {status(keyed, path, Host="127.0.0.1:8000") for path in PROBES} == {200}


def test_with_keys_any_name_and_any_page_will_do(service: Service) -> None:
    foreign = {"Host": "anything.example", "Origin": "https://example.org"}
    with service.another_api(EMAKI_API_KEYS="a") as url:
        assert httpx.get(f"{url}/", headers=foreign).status_code == 200
        assert httpx.get(f"{url}/v1/models", headers=foreign).status_code == 401
        keyed = foreign | {"Authorization": "Bearer a"}
        assert httpx.get(f"{url}/v1/models", headers=keyed).status_code == 200


@pytest.mark.parametrize(
    "entry", ["http://emaki.example", "emaki.example:8000", "a b", "**", "[x]"]
)
def test_what_is_no_host_is_refused_at_start(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a host; write names or addresses without scheme"):
        AppSettings(allowed_hosts=f"emaki.example,{entry}")
    assert parse_hosts(" A.example. ,, * ") == ("a.example", "*")


def test_no_answer_lets_a_browser_load_anything_from_elsewhere(service: Service) -> None:
    with service.client() as client:
        made = client.post("/v1/generations", headers={"Prefer": "wait=60"}).json()
        picture = made["images"][0]["url"]
        answers = [client.get(path) for path in (*ROUTES, "/redoc", *PROBES, picture)]
        answers += [
            client.get(picture, headers={"If-None-Match": answers[-1].headers["etag"]}),
            client.get(made["urls"]["events"]),
            client.get(picture.removesuffix("/images/0.png") + "/images.zip"),
            client.get("/v1/models", headers={"Host": "rebound.example"}),
            client.post(
                "/v1/generations", content=b"{", headers={"Content-Type": "application/json"}
            ),
            client.post("/v1/generations", content=b" " * 2**21),
            client.post("/v1/images/generations", json={}),
            client.put("/v1/generations"),
        ]
        client.delete(made["urls"]["self"])
    assert {answer.status_code for answer in answers} >= {200, 304, 400, 404, 405, 413, 421}
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        sources = {word for part in policy.split(";") for word in part.split()[1:]}
        assert policy.partition(";")[0] == "default-src 'none'", answer.url
        mine = {"'none'", "'self'", "blob:"}
        if answer.url.path in ("/docs", "/redoc"):  # what others made has its icons in its style
            mine |= {"data:", "'unsafe-inline'"}
            (scripts,) = (part for part in policy.split("; ") if part.startswith("script-src"))
            assert scripts == "script-src 'self'"
        assert sources <= mine, answer.url
        assert answer.headers["x-content-type-options"] == "nosniff"
        if answer.headers.get("content-type", "").startswith("text/html"):
            assert "//" not in answer.text.replace("<!doctype", ""), answer.url
        else:
            assert "'self'" not in policy


def test_the_description_of_the_api_is_reached_from_its_page(client: httpx.Client) -> None:
    for path in ("/docs", "/redoc"):
        assert 'href="/openapi.json"' in client.get(path).text
    assert client.get("/openapi.json").json()["openapi"].startswith("3.")
