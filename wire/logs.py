"""Log lines of the API and the worker: for people, or one JSON object a line.

Fields beside the message come by `extra={"fields": {...}}`: `request_id` and `generation_id` tie
the lines of one request together across processes.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


def configure(process: str, *, level: LogLevel, form: LogFormat) -> None:
    """Send everything to standard error, in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(process) if form == "json" else _Text(process))
    logging.basicConfig(level=level, handlers=[handler], force=True)


def fields(**values: object) -> dict[str, Any]:
    """The ``extra`` of a log call, without what is None or empty."""
    return {"fields": {name: value for name, value in values.items() if value not in (None, "")}}


class _Json(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _Text(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__(f"%(asctime)s {process} %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        head, *rest = super().format(record).split("\n")
        pairs = "".join(f" {k}={v}" for k, v in getattr(record, "fields", {}).items())
        return "\n".join([head + pairs, *rest])
