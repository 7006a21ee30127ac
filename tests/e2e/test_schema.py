"""Schemathesis over the whole OpenAPI description: no 5xx, no answer outside the description."""

import subprocess
import sys
from pathlib import Path

from tests.e2e.service import Service

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,response_headers_conformance"
)


def test_no_answer_is_outside_the_description(service: Service, tmp_path: Path) -> None:
    before = len(service.log("app"))
    answer = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{service.url}/openapi.json",
            *("--checks", CHECKS),
            *("--phases", "examples,coverage,fuzzing,stateful"),
            *("--max-examples", "15"),
            *("--request-timeout", "30"),
            *("--warnings", "off"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout[-6000:] + answer.stderr[-2000:]
    assert "25 selected / 25 total" in answer.stdout
    assert "Tested: 25" in answer.stdout
    assert "Traceback" not in service.log("app")[before:]
