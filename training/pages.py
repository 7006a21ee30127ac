"""HTML pages that need nothing else: pictures and charts stand in them as data."""

import base64
import io
from html import escape

from PIL import Image

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff }
table { border-collapse: collapse } td, th { padding: .1rem .8rem; text-align: right }
td:first-child, td:last-child, th:first-child { text-align: left }
tr.part td { font-weight: 600; padding-top: .8rem }
img { max-width: 100%; image-rendering: pixelated } img.chart { image-rendering: auto }
svg { max-width: 100%; height: auto }
pre { overflow-x: auto; background: #f6f6f6; padding: .6rem; font-size: 14px }
p.note { color: #555 } p.warning { border-left: 4px solid #D55E00; padding-left: .8rem }
figure { margin: 1rem 0 } figcaption { color: #555; font-size: 14px }
div.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem }
"""


def page(title: str, body: str) -> str:
    """A whole page."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}'
        f"</title><style>{_STYLE}</style>\n{body}</html>\n"
    )


def picture(image: Image.Image, alt: str, *, chart: bool = False) -> str:
    """A picture as data."""
    png = io.BytesIO()
    image.save(png, "PNG")
    return png_picture(png.getvalue(), alt, chart=chart)


def png_picture(png: bytes, alt: str, *, chart: bool = False) -> str:
    """A PNG file's bytes as data."""
    data = base64.b64encode(png).decode()
    kind = ' class="chart"' if chart else ""
    return f'<img{kind} alt="{escape(alt)}" src="data:image/png;base64,{data}">'
