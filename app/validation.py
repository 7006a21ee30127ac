"""What FastAPI could not validate, in words: the value, the limit and the next action."""

from typing import Any

from fastapi.exceptions import RequestValidationError

from wire.schemas import FieldError, GenerationRequest

_MOST_SHOWN = 80  # characters of a value
_MOST_NAME = 60  # of a field's name, which a client chose
_MOST_ERRORS = 16
_REASONS = {
    "greater_than_equal": "{value} is below the least, {ge}; send {ge} or more",
    "less_than_equal": "{value} is above the most, {le}; send {le} or less",
    "literal_error": "{value} is not known; send one of {expected}",
    "enum": "{value} is not known; send one of {expected}",
    "string_pattern_mismatch": "{value} is not of the form `name` or `name@step`; see /v1/models",
    "extra_forbidden": "unknown field; remove it or use one of {fields}",
}


def explain(
    error: RequestValidationError, media_type: str
) -> tuple[int, str, str, list[FieldError]]:
    """Status, code and detail of the answer, and the fields that were refused: the first ones."""
    found: dict[str, str] = {}
    for item in error.errors():
        parts = ("body", "query", "path", "header")
        location = [str(part) for part in item["loc"] if part not in parts]
        if item["type"] == "json_invalid" or not location:
            return _whole_body(item, media_type)
        name = location[0][:_MOST_NAME]
        if name not in found and len(found) < _MOST_ERRORS:
            found[name] = _explain(name, item)
    fields = [FieldError(field=name, detail=detail) for name, detail in found.items()]
    summary = "; ".join(f"{f.field}: {f.detail}" for f in fields[:5])
    return 422, "invalid_request", summary, fields


def _whole_body(item: Any, media_type: str) -> tuple[int, str, str, list[FieldError]]:
    if item["type"] == "json_invalid":
        reason = item.get("ctx", {}).get("error", "not JSON")
        detail = f"the body is not JSON ({reason}); send one JSON object"
        return 400, "invalid_json", detail, []
    if "json" not in media_type:
        shown = ascii(media_type[:_MOST_SHOWN])
        detail = f"content-type is {shown}; send JSON as application/json"
        return 415, "unsupported_media_type", detail, []
    return 422, "invalid_request", "the body is not a JSON object; send {...}", []


def _explain(field: str, item: Any) -> str:
    value = _shown(item.get("input"))
    if field == "class":
        return f"{value} is not a class's name or index, null, or a list of `batch` of these"
    known = [info.alias or name for name, info in GenerationRequest.model_fields.items()]
    reason = _REASONS.get(item["type"])
    if reason is None:
        return f"{value} is not accepted: {item['msg'][:1].lower()}{item['msg'][1:]}"
    limits = {
        name: f"{limit:g}" if isinstance(limit, float) else limit
        for name, limit in item.get("ctx", {}).items()
    }
    return reason.format(value=value, fields=", ".join(known), **limits)


def _shown(value: Any) -> str:
    text = ascii(value[:_MOST_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."
