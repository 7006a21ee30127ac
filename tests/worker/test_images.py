"""A store for pictures that is silent must not silence its worker."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from worker.images import Images, ImagesAway

TTL = 12  # seconds without a heartbeat, and others take over


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never says anything."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(server.accept()[0])

        threading.Thread(target=take, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    for connection in taken:
        connection.close()


def test_a_store_that_is_silent_is_given_up_in_time(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs")
    monkeypatch.setenv("AWS_ENDPOINT_URL", silent)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    images = Images("s3://bucket/pictures")
    began = time.monotonic()
    with pytest.raises(ImagesAway, match="EMAKI_IMAGES cannot be written"):
        images.write("a/0.png", b"x")
    assert time.monotonic() - began < TTL / 2
