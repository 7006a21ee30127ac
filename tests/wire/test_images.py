"""Files for pictures: a silent store is given up in time, and no name leads out of the folder."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wire.images import Images, ImagesAway, image_name

ID = "0123456789abcdef" * 2
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
    images = Images("s3://bucket/pictures", seconds=4)
    began = time.monotonic()
    with pytest.raises(ImagesAway, match="EMAKI_IMAGES cannot be written"):
        images.write(image_name(ID, 0, ID), b"x")
    assert time.monotonic() - began < TTL / 2


def test_a_picture_is_read_until_its_generation_is_removed(tmp_path: Path) -> None:
    images = Images(tmp_path.as_uri(), seconds=4)
    name = image_name(ID, 3, "f" * 64)
    images.write(name, b"png")
    assert images.read([name, image_name(ID, 4, "f" * 64)]) == [b"png", None]
    images.remove(ID)
    images.remove(ID)
    assert images.read([name]) == [None]


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "/",
        "x",
        "*",
        ID.upper(),
        ID + "/..",
        f"{ID}/../../x",
        ID + "\n",
        "\0",
    ],
)
def test_only_ids_are_removed(tmp_path: Path, name: str) -> None:
    root, beside = tmp_path / "pictures", tmp_path / "x"
    images = Images(root.as_uri(), seconds=4)
    images.write(image_name(ID, 0, "f" * 64), b"png")
    beside.mkdir()
    (beside / "kept.png").write_bytes(b"kept")
    with pytest.raises(ValueError, match="is no generation's id"):
        images.remove(name)
    with pytest.raises(ValueError, match="is no picture's name"):
        images.write(name, b"x")
    assert images.read([name, f"{ID}/../../x/kept.png", "../x/kept.png"]) == [None] * 3
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == [
        f"0-{'f' * 16}.png",
        "kept.png",
    ]
