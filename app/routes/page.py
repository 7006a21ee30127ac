"""The pages for people: the web page, and where the API is described. No key needed."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

router = APIRouter(include_in_schema=False)
_STATIC = Path(__file__).parent.parent / "static"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "Cache-Control": "no-cache",
}


@router.get("/")
async def page() -> FileResponse:
    """The web page; it needs nothing but this server, and may load nothing else."""
    return FileResponse(_STATIC / "index.html", headers=_HEADERS)


@router.get("/docs")
@router.get("/redoc")
async def docs() -> FileResponse:
    """Where the description of the API is, and what reads it."""
    return FileResponse(_STATIC / "docs.html", headers=_HEADERS)
