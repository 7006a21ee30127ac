"""The OpenAPI description: what FastAPI makes of the routes, and what it cannot know.

`python -m app.description FILE` compares the committed one with it, `--write` replaces it: whoever
changes what clients see finds it in the diff. Knows the routes' names; answers no request.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from app import problems
from app.examples import EXAMPLES
from wire.schemas import Generation, ImageEntry, Preview, Problem, Progress

_EVENTS_PATH = "/v1/generations/{id}/events"
_ASKED = ("GenerationRequest", "ImagesRequest")
_REF = "#/components/schemas/{model}"
_PAYLOADS: dict[str, type[BaseModel]] = {
    "status": Generation,
    "progress": Progress,
    "preview": Preview,
    "image": ImageEntry,
    "done": Generation,
}
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, where the server has any (`EMAKI_API_KEYS`).",
}

Schema = dict[str, Any]


def install(app: FastAPI) -> None:
    """Complete the description of an application whose routes are there."""
    generate = app.openapi

    def openapi() -> Schema:
        if app.openapi_schema is None:
            _complete(generate())  # which keeps it
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(description: Schema) -> None:
    description["components"]["securitySchemes"] = {"bearer": _BEARER}
    _complete_schemas(description["components"]["schemas"])
    for path, operations in description["paths"].items():
        for operation in operations.values():
            _complete_operation(path, operation)
    stream = description["paths"][_EVENTS_PATH]["get"]["responses"]["200"]["content"]
    stream["text/event-stream"] = _events()


def _complete_schemas(schemas: dict[str, Schema]) -> None:
    """What no route returns as such, and an example of every field."""
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    models: list[type[BaseModel]] = [Problem, *_PAYLOADS.values()]
    for model in models:
        schema = model.model_json_schema(ref_template=_REF, mode="serialization")
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    # Taken as well, for OpenAI's clients send it so; to generators it has image's name.
    schemas["Body_edit_v1_images_edits_post"]["properties"].pop("image[]")
    for name, schema in schemas.items():
        for field, value in EXAMPLES.get(name, {}).items():
            schema["properties"][field]["examples"] = [value]
    for name in _ASKED:
        for told in schemas[name]["properties"].values():
            default = told.pop("default", None)  # with one, generators for TypeScript want it sent
            if default is not None:
                told["description"] = f"{told.get('description', '')} Default: {default}.".strip()


def _complete_operation(path: str, operation: Schema) -> None:
    responses = operation["responses"]
    responses.setdefault("421", problems.ERRORS[421])
    if "422" in responses:
        responses["422"] = problems.ERRORS[422]
    if path.startswith("/v1/"):
        operation["security"] = [{}, {"bearer": []}]
    bodies = operation.get("requestBody", {}).get("content", {}).values()
    for described in (*operation.get("parameters", ()), *bodies):
        _without_null(described)
    for response in responses.values():
        content = response.get("content", {})
        if "application/json" in content:  # generators read the first
            response["content"] = {"application/json": content["application/json"], **content}


def _without_null(described: Schema) -> None:
    """A header, query or body that may be left out is a plain value, not one or null."""
    schema = described["schema"]
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        rest = {} if "$ref" in kinds[0] else schema
        described["schema"] = {**{k: v for k, v in rest.items() if k != "anyOf"}, **kinds[0]}


def _events() -> Schema:
    """The stream as OpenAPI 3.2 describes one; readers of 3.1 see a text."""
    kinds = [
        {
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "event": {"const": name},
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": {"$ref": _REF.format(model=model.__name__)},
                },
            },
            "required": ["id", "event", "data"],
        }
        for name, model in _PAYLOADS.items()
    ]
    return {"itemSchema": {"oneOf": kinds}}


def text(app: FastAPI) -> str:
    """The description as it is committed."""
    return json.dumps(app.openapi(), indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """0 where the file is what is served, or is written; 1 and one line where it differs."""
    from app.application import create_app
    from app.settings import AppSettings

    parser = argparse.ArgumentParser(prog="python -m app.description", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--write", action="store_true", help="replace it instead of comparing")
    given = parser.parse_args(arguments)
    served = text(create_app(AppSettings(), "redis://127.0.0.1"))
    if given.write:
        given.file.write_text(served, encoding="utf-8")
    elif not given.file.is_file() or given.file.read_text(encoding="utf-8") != served:
        print(f"{given.file} is not what is served; run: make openapi", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
