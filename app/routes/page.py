"""The pages for people: the web page, and where the API is described. No key needed."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

router = APIRouter(include_in_schema=False)
_STATIC = Path(__file__).parent.parent / "static"


def _headers(*, images: str, styles: str = "'self'") -> dict[str, str]:
    """A page's content policy: scripts from this server alone, and none within the page."""
    policy = (
        f"default-src 'none'; script-src 'self'; style-src {styles}; img-src {images}; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
    return {"Content-Security-Policy": policy, "Cache-Control": "no-cache"}


_PAGE = _headers(images="'self' blob:")
_DOCS = _headers(images="'self' data:")
_REDOC = _headers(images="'self' data:", styles="'self' 'unsafe-inline'")  # it writes its style


@router.get("/")
@router.get("/g/{id}")
@router.get("/queue")
@router.get("/models")
@router.get("/models/{name}")
async def page() -> FileResponse:
    """The web page, which shows what its address says; it may load nothing from elsewhere."""
    return FileResponse(_STATIC / "index.html", headers=_PAGE)


@router.get("/docs")
async def docs() -> FileResponse:
    """The description of the API, to be tried."""
    return FileResponse(_STATIC / "docs.html", headers=_DOCS)


@router.get("/redoc")
async def redoc() -> FileResponse:
    """The same, to be read."""
    return FileResponse(_STATIC / "redoc.html", headers=_REDOC)
