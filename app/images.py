"""Pictures as files below an fsspec URL: read here, written by workers.

Knows fsspec; knows no Redis. Blocking: call it from a thread.
"""

from typing import Any

import fsspec

from app.exceptions import ImagesAway
from wire.connect import without_password

_PATIENCE = {"connect_timeout": 3, "read_timeout": 5, "retries": {"max_attempts": 2}}


_SECONDS = 10  # all tries together


class ImagesUrlError(Exception):
    """`EMAKI_IMAGES` is no place to read from; the message says why."""


class Images:
    """The place for pictures.

    Raises:
        ImagesUrlError: no such protocol, or its package is not installed.
    """

    def __init__(self, url: str) -> None:
        s3 = url.startswith(("s3:", "s3a:"))
        options: dict[str, Any] = {"config_kwargs": _PATIENCE} if s3 else {}
        try:
            self._files, self._root = fsspec.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            raise ImagesUrlError(
                f"EMAKI_IMAGES={without_password(url)}: {error}; give an fsspec URL such as "
                "s3://bucket/prefix or file:///folder, the workers' too, or leave it unset to keep "
                "pictures in Redis"
            ) from error

        # Of the network alone; a folder takes no such argument.
        self._at_most = {"timeout": _SECONDS} if self._files.async_impl else {}

    def read(self, names: list[str]) -> list[bytes | None]:
        """Files by their names, at once where the file system can; None where there is none.

        Raises:
            ImagesAway: the place does not answer.
        """
        paths = [f"{self._root.rstrip('/')}/{name}" for name in names]
        try:
            found = self._files.cat(paths, on_error="return", **self._at_most) if paths else {}
        except Exception as error:
            raise ImagesAway(_away(error)) from error
        answers = [found.get(path) for path in paths]
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, FileNotFoundError):
                raise ImagesAway(_away(answer)) from answer
        return [answer if isinstance(answer, bytes) else None for answer in answers]


def _away(error: Exception) -> str:
    name = type(error).__name__
    return f"the pictures cannot be read right now ({name}); try again in a moment"
