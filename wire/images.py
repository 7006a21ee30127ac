"""Where pictures lie when they are not in Redis: names that app and worker agree on.

With `EMAKI_IMAGES` (an fsspec URL: s3://bucket/prefix, file:///folder ...) a worker writes each
picture to a file before it announces it, and the API reads it there. A name holds the start of the
picture's digest, so two workers that draw the same request at once (one was taken for dead) never
change what was announced. Redis remembers until when a generation's files are kept
(`keys.IMAGES_KEPT`); whichever worker is alive then removes them. Knows no file system.
"""


def image_name(id_: str, index: int, sha256: str) -> str:
    """A picture's file, below the URL."""
    return f"{id_}/{index}-{sha256[:16]}.png"


def strip_name(id_: str) -> str:
    """The denoising strip's file."""
    return f"{id_}/strip.png"
