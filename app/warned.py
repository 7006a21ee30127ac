"""What is drawn, but not quite as asked: a header, for answers whose body has no place for it."""

from typing import Any

from wire.record import Record

WARNING = "Emaki-Warning"
_MOST = 4  # that are told: proxies take 4 kB of headers
DESCRIBED: dict[str, Any] = {
    WARNING: {
        "description": "What is drawn, but not quite as asked, and why; absent: nothing.",
        "schema": {"type": "string"},
    }
}


def warning_headers(record: Record) -> dict[str, str]:
    """The header of a finished generation's warnings; none without any."""
    told = record.warnings[:_MOST]
    more = len(record.warnings) - len(told)
    told += [f"and {more} more"] if more else []
    return {WARNING: "; ".join(told)} if told else {}
