"""Where pictures lie when they are not in Redis: names that app and worker agree on, and the files.

With `EMAKI_IMAGES` (an fsspec URL: s3://bucket/prefix, file:///folder ...) a worker writes each
picture to a file before it announces it, and the API reads it there. A name holds the start of the
picture's digest, so two workers that draw the same request at once (one was taken for dead) never
change what was announced. Redis remembers until when a generation's files are kept
(`keys.IMAGES_KEPT`); whichever worker is alive then removes them.

Knows fsspec, once such a URL is set, and no Redis. Names come from Redis, whose writers may be
anyone: only what the functions here give is a name. Blocking: not for an event loop.
"""

import re
from dataclasses import dataclass
from typing import Any

from wire.connect import without_password

# Not boto's minutes: nobody waits so long for a store that is away.
_PATIENCE = {"connect_timeout": 3, "read_timeout": 5, "retries": {"max_attempts": 2}}
_ID = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"[0-9a-f]{32}/((\d{1,6}-[0-9a-f]{16}|strip)\.png|upload)")


class ImagesUrlError(Exception):
    """`EMAKI_IMAGES` is no place for pictures; the message says why."""


class ImagesAway(Exception):
    """The place for pictures does not answer, or takes none for now."""


def image_name(id_: str, index: int, sha256: str) -> str:
    """A picture's file, below the URL."""
    return f"{id_}/{index}-{sha256[:16]}.png"


def strip_name(id_: str) -> str:
    """The denoising strip's file."""
    return f"{id_}/strip.png"


def upload_name(id_: str) -> str:
    """The file of a picture that a client sent."""
    return f"{id_}/upload"


@dataclass(frozen=True)
class InputFiles:
    """What a generation begins from: PNGs, as the API has fitted them to the model."""

    init: bytes
    mask: bytes | None = None


class Images:
    """The place for pictures.

    A file system of the network may be away: that passes, so a caller keeps what it has, and tries
    again.

    Args:
        url: of fsspec.
        seconds: the most that a network's file system may take, all its tries together.

    Raises:
        ImagesUrlError: no such protocol, or its package is not installed.
    """

    def __init__(self, url: str, *, seconds: float) -> None:
        import fsspec  # only where pictures lie in files

        options: dict[str, Any] = {"auto_mkdir": True} if url.startswith("file:") else {}
        if url.startswith(("s3:", "s3a:")):
            options = {"config_kwargs": _PATIENCE}
        try:
            self._files, self._root = fsspec.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            raise ImagesUrlError(
                f"EMAKI_IMAGES={without_password(url)}: {error}; give an fsspec URL such as "
                "s3://bucket/prefix or file:///folder, the same to the API and every worker, or "
                "leave it unset to keep pictures in Redis"
            ) from error
        # Of the network alone; a folder takes no such argument.
        self._at_most = {"timeout": seconds} if self._files.async_impl else {}

    def read(self, names: list[str]) -> list[bytes | None]:
        """Files by their names, at once where the file system can; None where there is none.

        Raises:
            ImagesAway: the place does not answer.
        """
        paths = [self._path(name) if _NAME.fullmatch(name) else "" for name in names]
        known = list(filter(None, paths))
        try:
            found = self._files.cat(known, on_error="return", **self._at_most) if known else {}
        except Exception as error:  # each file system has its own
            raise ImagesAway(_unread(error)) from error
        answers = [found.get(path) for path in paths]
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, FileNotFoundError):
                raise ImagesAway(_unread(answer)) from answer
        return [answer if isinstance(answer, bytes) else None for answer in answers]

    def write(self, name: str, data: bytes) -> None:
        """Store a file.

        Raises:
            ImagesAway: that cannot be done now.
            ValueError: it is no picture's name.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no picture's name")
        try:
            self._files.pipe_file(self._path(name), data, **self._at_most)
        except Exception as error:  # each file system has its own
            raise ImagesAway(f"EMAKI_IMAGES cannot be written ({error})") from error

    def remove(self, id_: str) -> None:
        """Remove all files of a generation, if there are any.

        Raises:
            ImagesAway: that cannot be done now.
            ValueError: it is no generation's id: never a way to other folders.
        """
        if not _ID.fullmatch(id_):
            raise ValueError(f"{id_!r} is no generation's id")
        try:
            self._files.invalidate_cache()
            self._files.rm(self._path(id_), recursive=True, **self._at_most)
        except FileNotFoundError:
            return
        except Exception as error:  # each file system has its own
            raise ImagesAway(f"EMAKI_IMAGES cannot be written ({error})") from error

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


def _unread(error: Exception) -> str:
    name = type(error).__name__
    return f"the pictures cannot be read right now ({name}); try again in a moment"
