"""Pictures as files below an fsspec URL: written and removed here, read by the API.

Knows fsspec; knows no Redis. A file system of the network may be away: that passes, so the caller
keeps what it has and tries again.
"""

from typing import Any

import fsspec

from wire.connect import without_password

# Not boto's minutes: a heartbeat must not wait for a store that is away.
_PATIENCE = {"connect_timeout": 3, "read_timeout": 5, "retries": {"max_attempts": 2}}


_SECONDS = 4  # all tries together


class ImagesUrlError(Exception):
    """`EMAKI_IMAGES` is no place to write to; the message says why."""


class ImagesAway(Exception):
    """The place for pictures does not answer, or takes none for now."""


class Images:
    """The place for pictures.

    Raises:
        ImagesUrlError: no such protocol, or its package is not installed.
    """

    def __init__(self, url: str) -> None:
        options: dict[str, Any] = {"auto_mkdir": True} if url.startswith("file:") else {}
        if url.startswith(("s3:", "s3a:")):
            options = {"config_kwargs": _PATIENCE}
        try:
            self._files, self._root = fsspec.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            raise ImagesUrlError(
                f"EMAKI_IMAGES={without_password(url)}: {error}; give an fsspec URL such as "
                "s3://bucket/prefix or file:///folder, or leave it unset to keep pictures in Redis"
            ) from error

        # Of the network alone; a folder takes no such argument.
        self._at_most = {"timeout": _SECONDS} if self._files.async_impl else {}

    def write(self, name: str, data: bytes) -> None:
        """Store a file; ImagesAway when that cannot be done now."""
        try:
            self._files.pipe_file(self._path(name), data, **self._at_most)
        except Exception as error:  # each file system has its own
            raise ImagesAway(f"EMAKI_IMAGES cannot be written ({error})") from error

    def remove(self, id_: str) -> None:
        """Remove all files of a generation, if there are any."""
        try:
            self._files.invalidate_cache()
            self._files.rm(self._path(id_), recursive=True, **self._at_most)
        except FileNotFoundError:
            return
        except Exception as error:  # each file system has its own
            raise ImagesAway(f"EMAKI_IMAGES cannot be written ({error})") from error

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"
