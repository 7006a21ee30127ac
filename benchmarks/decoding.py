"""How long other answers wait while the API decodes inputs. `python -m benchmarks.decoding`.

One API process and no worker, as `benchmarks.api` has it. Polls leave on schedule while pictures of
sixteen million pixels, the most that are taken, are begun from one after the other; beside it the
same polls with nothing to decode.
"""

import argparse
import asyncio
import gc
import io
import json
import os
import tempfile
import time
from pathlib import Path

from PIL import Image

from benchmarks.api import get, load, percentiles, pool, post, service, until_up
from benchmarks.machine import describe

_SIDE = 4000
_KINDS = {
    "PNG, grey": ("L", "PNG", {"compress_level": 1}),
    "PNG, colour": ("RGB", "PNG", {"compress_level": 1}),
    "PNG, alpha": ("RGBA", "PNG", {"compress_level": 1}),
    "PNG, palette": ("P", "PNG", {"compress_level": 1}),
    "JPEG": ("RGB", "JPEG", {"quality": 80}),
    "JPEG, CMYK": ("CMYK", "JPEG", {"quality": 80}),
    "WebP": ("RGB", "WEBP", {"quality": 60, "method": 0}),
    "WebP, alpha": ("RGBA", "WEBP", {"quality": 60, "method": 0}),
}


def picture(kind: str) -> bytes:
    """A smooth picture of the most pixels, with some noise in it."""
    mode, form, options = _KINDS[kind]
    small = Image.frombytes("RGB", (64, 64), os.urandom(64 * 64 * 3))
    image = small.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).convert(mode)
    if mode == "RGBA":
        image.putalpha(small.convert("L").resize((_SIDE, _SIDE)))
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _upload(data: bytes) -> bytes:
    head = f"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


async def measure(port: int, *, rate: float, seconds: float) -> None:
    """A line for each kind of picture."""
    await until_up(port)

    async def polls(seconds: float) -> list[float]:
        request = get("/v1/models")
        return await load(port, rate=rate, seconds=seconds, request=lambda _: request, status=200)

    await polls(2)  # warm
    print(f"{'nothing':14} {percentiles(await polls(seconds))}")
    async with pool(port, 1) as connections:
        connection = await connections.get()
        for kind in _KINDS:
            data = picture(kind)
            status, body = await connection.ask(_upload(data))
            if status != 201:
                print(f"{kind:14} {len(data) / 2**20:.1f} MiB cannot be sent: {body[:90]!r}")
                continue
            asked = json.dumps({"init_image": json.loads(body)["url"]}).encode()
            polling = asyncio.create_task(polls(seconds))
            taken = []
            while not polling.done():
                began = time.perf_counter()
                status, body = await connection.ask(post("/v1/generations", asked))
                if status != 202:
                    raise RuntimeError(f"{status}: {body[:300]!r}")
                taken.append(time.perf_counter() - began)
            each = f"{len(taken)} begun from, {sum(taken) / len(taken):.2f} s each"
            print(f"{kind:14} {percentiles(await polling)}; {each}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--polls", type=float, default=100, help="a second")
    arguments = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as folder:
        port = 18766
        with service(Path(folder), port):
            gc.disable()  # this process's own pauses would count as the API's
            asyncio.run(measure(port, rate=arguments.polls, seconds=arguments.seconds))


if __name__ == "__main__":
    main()
