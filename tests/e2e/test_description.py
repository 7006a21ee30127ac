"""The OpenAPI description: what is committed is served, says everything, and makes a client."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.description import main
from tests.e2e.service import Service
from wire.schemas import Generation, GenerationRequest, ModelCard, Problem

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "docs/openapi.json"
BIN = Path(sys.executable).parent
# PNGs and archives are bytes: the generator asks to be told so.
CONFIG = """
content_type_overrides:
  image/png: application/octet-stream
  image/jpeg: application/octet-stream
  image/webp: application/octet-stream
  application/zip: application/octet-stream
post_hooks: []
"""
PROGRAM = """
import sys
from pathlib import Path

from generated import AuthenticatedClient
from generated.api.generations import create_generation
from generated.api.models import list_models
from generated.api.pictures import get_image
from generated.models import Generation, GenerationRequest, ModelList
from generated.types import File

client = AuthenticatedClient(base_url=sys.argv[1], token="any")
models = list_models.sync(client=client)
assert isinstance(models, ModelList)
wanted = GenerationRequest(class_=models.data[0].classes[0], seed=1, steps=2)
drawn = create_generation.sync(client=client, body=wanted, prefer="wait=60")
assert isinstance(drawn, Generation), drawn
assert drawn.images[0].class_ == "Circle"
picture = get_image.sync(drawn.id, 0, client=client, scale=3)
assert isinstance(picture, File)
Path("drawn.png").write_bytes(picture.payload.read())
"""
NODE_PACKAGES = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3")
TYPESCRIPT = """
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

export async function draw(baseUrl: string): Promise<[string, ArrayBuffer]> {
  const client = createClient<paths>({ baseUrl });
  const { data, error } = await client.POST("/v1/generations", {
    body: { class: "Circle", seed: 1, steps: 2 },
    params: { header: { Prefer: "wait=60" } },
  });
  if (error !== undefined) throw new Error(JSON.stringify(error));
  if (typeof data === "string") throw new Error("no picture was asked for in its place");
  const picture = await client.GET("/v1/generations/{id}/images/{index}.png", {
    params: { path: { id: data.id, index: 0 } },
    parseAs: "arrayBuffer",
  });
  return [data.status, picture.data!];
}
"""
CALLER = """
import { writeFileSync } from "node:fs";
import { draw } from "./program.js";

const [status, picture] = await draw(process.argv[2]);
if (status !== "succeeded") throw new Error(status);
writeFileSync("drawn.png", new Uint8Array(picture));
"""


@pytest.fixture(scope="module")
def description(service: Service) -> Any:
    return httpx.get(f"{service.url}/openapi.json").json()


def operations(description: Any) -> list[Any]:
    return [one for path in description["paths"].values() for one in path.values()]


def test_what_is_committed_is_what_is_served(description: Any, tmp_path: Path) -> None:
    assert json.loads(COMMITTED.read_text()) == description
    assert main([str(COMMITTED)]) == 0
    (tmp_path / "older.json").write_text(COMMITTED.read_text().replace("sneaker", "boot"))
    assert main([str(tmp_path / "older.json")]) == 1


def test_every_operation_has_a_name_of_its_own_and_the_key_s_scheme(description: Any) -> None:
    names = [one["operationId"] for one in operations(description)]
    assert len(set(names)) == len(names)
    assert all("_" in name for name in names)
    assert description["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for path, methods in description["paths"].items():
        for one in methods.values():
            assert ("security" in one) == path.startswith("/v1/")
    links = description["paths"]["/v1/generations"]["post"]["responses"]["202"]["links"]
    assert {link["operationId"] for link in links.values()} <= set(names)


def test_headers_and_queries_are_plain_values(description: Any) -> None:
    parameters = [p for one in operations(description) for p in one.get("parameters", ())]
    assert {"Prefer", "last-event-id", "idempotency-key"} <= {p["name"] for p in parameters}
    for parameter in parameters:
        assert set(parameter["schema"]) & {"type", "$ref"}, parameter


def test_files_and_events_say_what_they_are(description: Any) -> None:
    paths = description["paths"]
    for path, methods in paths.items():
        for media_type in ("image/png", "application/zip"):
            for answer in methods.get("get", {}).get("responses", {}).values():
                if media_type in answer.get("content", {}):
                    assert path.endswith((".png", ".zip", "/uploads/{id}"))
                    assert answer["content"][media_type]["schema"]["format"] == "binary"
    content = paths["/v1/generations/{id}/events"]["get"]["responses"]["200"]["content"]
    kinds = content["text/event-stream"]["itemSchema"]["oneOf"]
    payloads = {
        kind["properties"]["event"]["const"]: kind["properties"]["data"]["contentSchema"]["$ref"]
        for kind in kinds
    }
    assert set(payloads) == {"status", "progress", "preview", "image", "done"}
    known = description["components"]["schemas"]
    assert all(payload.rpartition("/")[2] in known for payload in payloads.values())


def test_every_field_has_an_example_that_holds(description: Any) -> None:
    schemas = description["components"]["schemas"]
    for name, schema in schemas.items():
        for field, told in schema.get("properties", {}).items():
            assert told.get("examples"), f"{name}.{field}"
    for model in (Generation, GenerationRequest, ModelCard, Problem):
        fields = schemas[model.__name__]["properties"]
        example = {name: told["examples"][0] for name, told in fields.items()}
        model.model_validate_json(json.dumps(example))


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_generated_client_type_checks_and_draws(service: Service, tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(CONFIG)
    (tmp_path / "program.py").write_text(PROGRAM)
    generate = ("generate", "--path", COMMITTED, "--output-path", "generated", "--meta", "none")
    config = ("--config", "config.yml", "--fail-on-warning")
    for command in (
        (BIN / "openapi-python-client", *generate, *config),
        (BIN / "mypy", "--strict", "--config-file", os.devnull, "program.py"),
        (sys.executable, "program.py", service.url),
    ):
        answer = run(*command, cwd=tmp_path, PYTHONPATH=str(tmp_path))
        assert answer.returncode == 0, answer.stdout + answer.stderr
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js: apt-get install npm")
def test_a_client_in_typescript_type_checks_and_draws(service: Service, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"type": "module", "private": true}')
    (tmp_path / "program.ts").write_text(TYPESCRIPT)
    (tmp_path / "caller.js").write_text(CALLER)
    quickly = ("--fetch-retries=0", "--fetch-timeout=20000", "--no-audit", "--no-fund")
    installed = run("npm", "install", *quickly, *NODE_PACKAGES, cwd=tmp_path)
    if installed.returncode:
        pytest.skip(f"npm cannot install: {installed.stderr.strip().splitlines()[-1]}")
    modern = ("--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext")
    for command in (
        ("npx", "openapi-typescript", COMMITTED, "-o", "api.d.ts"),
        ("npx", "tsc", *modern, "--lib", "es2022,dom", "program.ts"),
        ("node", "caller.js", service.url),
    ):
        answer = run(*command, cwd=tmp_path)
        assert answer.returncode == 0, answer.stdout + answer.stderr
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")
