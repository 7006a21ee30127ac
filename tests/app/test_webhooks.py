"""Webhooks without a service: signatures, addresses, bodies, and when a message is tried again."""

import asyncio
import json
import ssl
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from inspect import unwrap
from pathlib import Path
from typing import Any

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError
from standardwebhooks import Webhook as Verifier

from app.exceptions import InvalidField
from app.settings import AppSettings
from app.webhooks.addresses import ForbiddenAddress, PublicOnly, is_public
from app.webhooks.deliverer import pause_after
from app.webhooks.fields import check_webhook
from app.webhooks.sender import Sender, body_of
from app.webhooks.settings import WebhookSettings
from app.webhooks.signing import headers, secret_bytes, secrets_of
from wire.life import Delivery
from wire.webhook import Webhook, queue, receiver

SECRET = "whsec_" + "A" * 44
OTHER = "whsec_" + "B" * 44
SETTINGS = AppSettings(
    webhook_secret=SECRET, webhook_hosts="hooks.internal,127.0.0.1", _env_file=None
)


def delivery(data: dict[str, Any] | None = None, **changes: Any) -> Delivery:
    settings: dict[str, Any] = {
        "id": "g.done",
        "generation": "g",
        "event": "done",
        "at": 1.5,
        "since": 1.5,
        "url": "https://hooks.example/x",
        "to": "https://hooks.example:443",
        "secret": "",
        "data": json.dumps(data or {"id": "g", "status": "succeeded"}),
        "tries": 0,
    }
    return Delivery(**{**settings, **changes})


# signatures


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_any_of_the_secrets_verifies_a_message(secret: str) -> None:
    body = body_of(delivery())
    signed = headers("g.done", int(time.time()), body, secrets_of(f"{SECRET}, {OTHER}"))
    message = Verifier(secret).verify(body, signed)
    assert message["type"] == "generation.done"
    assert message["data"] == {"id": "g", "status": "succeeded"}


@pytest.mark.parametrize(
    "secret", ["", "s3cret", "whsec_", "whsec_s3cret!", "whsec_c2hvcnQ=", "A" * 44]
)
def test_what_is_no_secret_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_ and 24 to 64 bytes in base64") as refusal:
        secret_bytes(secret)
    assert "s3cret" not in str(refusal.value)


def test_a_setting_that_is_no_secret_is_refused_and_not_shown() -> None:
    wrong = f"{SECRET},s3cret"
    with pytest.raises(ValidationError, match="make one with") as api:
        AppSettings(webhook_secret=wrong, _env_file=None)
    with pytest.raises(ValidationError, match="make one with") as deliverer:
        WebhookSettings(webhook_secret=wrong, _env_file=None)
    assert "s3cret" not in f"{api.value} {deliverer.value}"


# bodies


def test_an_image_is_told_with_its_generation() -> None:
    message = json.loads(body_of(delivery({"index": 3}, event="image", id="g.image.3")))
    assert message["type"] == "generation.image"
    assert message["data"] == {"id": "g", "image": {"index": 3}}
    assert message["timestamp"] == "1970-01-01T00:00:01.500000+00:00"


def test_what_is_longer_than_64_kb_goes_without_its_request_and_images() -> None:
    long = {
        "id": "g",
        "status": "succeeded",
        "urls": {"self": "/x"},
        "request": {"prompt": "é" * 20_000},
    }
    body = body_of(delivery(long))
    assert len(body) < 1000
    assert json.loads(body)["data"] == {"id": "g", "status": "succeeded", "urls": {"self": "/x"}}


# when


def test_pauses_double_up_to_an_hour_and_differ() -> None:
    for tries, longest in [(0, 5), (1, 10), (5, 160), (12, 3600), (10_000, 3600)]:
        pauses = {pause_after(tries) for _ in range(50)}
        assert len(pauses) > 10
        assert all(longest / 2 <= pause <= longest for pause in pauses)


# where


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1"),
        *("::ffff:10.0.0.1", "::ffff:7f00:1", "64:ff9b::a00:1", "2002:a00:1::", "::10.0.0.1"),
        *("2001:0:0:0::1", "ff02::1", "fec0::1", "64:ff9b:1::a00:1", "::ffff:0:7f00:1", "3fff::1"),
        *("2001:db8::1", "name"),
    ],
)
def test_what_is_not_public_is_known_however_it_is_written(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_what_is_public_may_be_told(address: str) -> None:
    assert is_public(address)


class Elsewhere(httpcore.AsyncNetworkBackend):
    """Connects to one port of this machine, whatever address it is given."""

    def __init__(self, port: int) -> None:
        self.port, self.asked = port, []  # type: int, list[str]

    async def connect_tcp(self, host: str, *_args: Any, **_kwargs: Any) -> Any:
        self.asked.append(host)
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self.port)


class Answers:
    """A resolver whose name leads elsewhere each time: DNS rebinding."""

    def __init__(self, *each: Iterable[str]) -> None:
        self.each = [list(addresses) for addresses in each]

    async def __call__(self, _host: str, _port: int) -> list[str]:
        return self.each.pop(0)


async def _listening(
    context: ssl.SSLContext | None = None,
) -> tuple[asyncio.Server, list[bytes]]:
    """A receiver on this machine, and what it was sent."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(100))
        writer.write(b"HTTP/1.1 204 x\r\n\r\n")
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context), seen


def test_a_name_that_is_rebound_is_refused_before_anything_is_sent() -> None:
    async def run() -> None:
        server, seen = await _listening()
        port = server.sockets[0].getsockname()[1]
        told = delivery(url=f"http://hooks.example:{port}/")
        async with server:
            # The name leads to a private address now.
            rebound = PublicOnly((), resolve=Answers(["1.1.1.1"], ["127.0.0.1", "10.0.0.1"]))
            await rebound._resolve("hooks.example", port)
            with pytest.raises(ForbiddenAddress, match=r"leads to 127\.0"):
                await rebound.connect_tcp("hooks.example", port)
            # It leads to a public one, and the connection ends here all the same.
            inner = Elsewhere(port)
            sender = Sender(
                PublicOnly((), resolve=Answers(["1.1.1.1"]), inner=inner), [b"x" * 32], seconds=5
            )
            tried = await sender.send(told)
            assert "ended at 127.0.0.1, which is not public" in tried.why
            assert inner.asked == ["1.1.1.1"], "it goes to what was checked, not to the name"
            await sender.close()
            assert not any(seen)
            # A host that the settings name may be here.
            named = Sender(
                PublicOnly(("hooks.example",), resolve=Answers(["127.0.0.1"])),
                [b"x" * 32],
                seconds=5,
            )
            assert (await named.send(told)).why == ""
            await named.close()
            assert seen[-1].startswith(b"POST / HTTP/1.1")

    asyncio.run(run())


def test_a_receiver_s_certificate_must_be_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = tmp_path / "authority.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    # Which changes: not to be read once for all tests.
    monkeypatch.setattr(ssl, "create_default_context", unwrap(ssl.create_default_context))
    context = certified("hooks.example", authority)

    async def tell(name: str, port: int) -> str:
        backend = PublicOnly((name,), resolve=Answers(["127.0.0.1"]))
        sender = Sender(backend, [b"x" * 32], seconds=5)
        tried = await sender.send(delivery(url=f"https://{name}:{port}/"))
        await sender.close()
        return tried.why

    async def run() -> None:
        server, seen = await _listening(context)
        port = server.sockets[0].getsockname()[1]
        async with server:
            assert await tell("hooks.example", port) == ""
            assert "not valid for 'other.example'" in await tell("other.example", port)
            authority.write_bytes(b"")
            assert "certificate verify failed" in await tell("hooks.example", port)
        assert [words.startswith(b"POST / HTTP/1.1") for words in seen] == [True]

    asyncio.run(run())


def certified(name: str, authority: Path) -> ssl.SSLContext:
    """A server's context with a certificate for that name, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = authority.with_name("key.pem")
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, private)
    return context


def test_a_receiver_that_hangs_up_at_once_is_a_try_that_failed() -> None:
    async def run() -> None:
        inner = httpcore.AsyncMockBackend([])  # its connections do not know where they lead
        backend = PublicOnly((), resolve=Answers(["1.1.1.1"]), inner=inner)
        sender = Sender(backend, [b"x" * 32], seconds=5)
        assert "hung up at once" in (await sender.send(delivery())).why
        await sender.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("hooks.example", "no address"),
        ("https://", "no address"),
        ("https://hooks.example:99999/", "no address"),
        ("https://hooks example/", "no address"),
        ("https://hooks.example/\n", "no address"),
        ("ftp://hooks.example/", "not https"),
        ("http://hooks.example/", "not https"),
        ("file:///etc/passwd", "no address"),
        ("https://me:s3cret@hooks.example/", "credentials"),
        ("https://hooks.example/#x", "fragment"),
        ("https://localhost/", "within the server's network"),
        ("https://10.0.0.1/", "within the server's network"),
        ("https://[::ffff:10.0.0.1]/", "within the server's network"),
        ("https://[fe80::1]/", "within the server's network"),
    ],
)
def test_addresses_that_cannot_be_told_are_refused_at_once(url: str, why: str) -> None:
    with pytest.raises(InvalidField, match=why) as refusal:
        check_webhook(Webhook(url=url), SETTINGS)
    assert "s3cret" not in str(refusal.value)


def test_a_webhook_needs_a_secret_that_is_one() -> None:
    webhook = Webhook(url="https://hooks.example/")
    check_webhook(webhook, SETTINGS)
    with pytest.raises(InvalidField, match="set EMAKI_WEBHOOK_SECRET"):
        check_webhook(webhook, AppSettings(_env_file=None))
    check_webhook(webhook.model_copy(update={"secret": OTHER}), AppSettings(_env_file=None))
    with pytest.raises(InvalidField, match="openssl"):
        check_webhook(webhook.model_copy(update={"secret": "short"}), SETTINGS)


def test_hosts_that_are_named_may_be_private_and_speak_http() -> None:
    for url in ("http://hooks.internal:8080/x", "http://127.0.0.1/"):
        check_webhook(Webhook(url=url), SETTINGS)


def test_a_receiver_is_scheme_host_and_port_and_each_owner_s_messages_for_it_wait_apart() -> None:
    queues = {queue("https://hooks.example/a", owner) for owner in ("", "anna", "ben")}
    assert len(queues) == 3
    assert receiver("https://Hooks.example/a?b") == receiver("https://hooks.example:443/c")
    assert receiver("http://hooks.example/") != receiver("https://hooks.example/")
