"""Watch a picture come out of noise, as the service tells of it."""

import base64
from pathlib import Path

import emaki
from wire.schemas import Preview, Progress

with emaki.Client() as client:
    handle = client.submit("Sneaker", seed=1, scale=4, preview_every=4, strip=9)
    for event in handle.events():  # a connection that breaks is made again; nothing is lost
        if isinstance(event.data, Progress):
            print(f"{event.data.fraction:.0%}")
        elif isinstance(event.data, Preview):
            png = base64.b64decode(event.data.png_base64)
            Path(f"step-{event.data.step:02}.png").write_bytes(png)
    pictures = handle.images
    pictures[0].save_png("sneaker.png")
    assert pictures.strip is not None
    pictures.strip.save("scroll.png")
