"""Alerts, dashboard and autoscaler ask for metrics that exist; the guide explains each alert."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
DASHBOARD = ROOT / "deploy/grafana/dashboards/emaki.json"
SCALING = ROOT / "deploy/kubernetes/base/worker.yaml"
NAME = re.compile(r"\bemaki_\w+")


def wanted() -> set[str]:
    """Metrics that the files name, a histogram by its own name."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    found = NAME.findall(" ".join([ALERTS.read_text(), SCALING.read_text(), *asked]))
    return {name.removesuffix("_bucket") for name in found}


def test_every_metric_that_is_asked_for_exists(client: httpx.Client) -> None:
    assert client.post("/v1/generations", headers={"Prefer": "wait=30"}).status_code == 200
    offered = set(re.findall(r"^# TYPE (\w+) ", client.get("/metrics").text, re.MULTILINE))
    assert len(wanted()) >= 12
    assert wanted() <= offered


def test_every_alert_stands_in_the_guide() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", ALERTS.read_text()))
    explained = set(
        re.findall(r"^\| (Emaki\w+) \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    )
    assert len(alerts) >= 9
    assert alerts == explained


def test_promtool_accepts_the_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool (Debian: package prometheus)")
    for command in (
        ["check", "rules", str(ALERTS)],
        ["check", "config", str(ALERTS.parent / "prometheus.yml")],
    ):
        answer = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stdout + answer.stderr
