"""What `kubectl apply -k` would send is what the API server takes, and its parts fit together.

Rendered and validated without a cluster: `kubectl kustomize`, and the schemas of a package.
"""

import copy
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.__main__ import SECONDS_FOR_OPEN_STREAMS
from app.settings import AppSettings
from app.webhooks.settings import WebhookSettings
from tests.deploy import keda
from worker.settings import WorkerSettings

KUBERNETES = Path(__file__).parents[2] / "deploy/kubernetes"
VERSION = "1.32"
Manifest = dict[str, Any]
every_overlay = pytest.mark.parametrize("overlay", ["base", "gpu", "trial"])


@cache
def _rendered(overlay: str) -> str:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("needs kubectl, which renders without a cluster")
    command = [kubectl, "kustomize", str(KUBERNETES / overlay)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def manifests(overlay: str) -> list[Manifest]:
    return list(yaml.safe_load_all(_rendered(overlay)))


def one(overlay: str, kind: str, name: str) -> Manifest:
    (found,) = [
        m for m in manifests(overlay) if m["kind"] == kind and m["metadata"]["name"] == name
    ]
    return found


def pods(overlay: str) -> list[Manifest]:
    """The templates of all pods."""
    kinds = ("Deployment", "StatefulSet")
    return [m["spec"]["template"] for m in manifests(overlay) if m["kind"] in kinds]


def validate(manifest: Manifest) -> None:
    if manifest["kind"] != "ScaledObject":
        kubernetes_validate.validate(manifest, VERSION, strict=True)
        return
    keda.validate(manifest)
    advanced = manifest["spec"]["advanced"]["horizontalPodAutoscalerConfig"]
    autoscaler = copy.deepcopy(one("base", "HorizontalPodAutoscaler", "emaki-api"))
    autoscaler["spec"]["behavior"] = advanced["behavior"]
    kubernetes_validate.validate(autoscaler, VERSION, strict=True)


def chosen_by(selector: Manifest, labels: dict[str, str]) -> bool:
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In"
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


@every_overlay
def test_every_object_is_what_the_server_takes(overlay: str) -> None:
    for manifest in manifests(overlay):
        validate(manifest)


@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [
        ("Deployment", "emaki-api", ("spec", "template", "spec")),
        ("NetworkPolicy", "emaki", ("spec",)),
        ("ScaledObject", "emaki-worker", ("spec", "fallback")),
        ("ScaledObject", "emaki-worker", ("spec", "triggers", 0, "metadata")),
    ],
)
def test_a_misspelt_field_is_refused(kind: str, name: str, path: tuple[Any, ...]) -> None:
    manifest = one("base", kind, name)
    inner = manifest
    for step in path:
        inner = inner[step]
    inner["tirggers"] = 1
    with pytest.raises((kubernetes_validate.ValidationError, ValueError)):
        validate(manifest)


@every_overlay
def test_selectors_find_pods_and_targets_exist(overlay: str) -> None:
    labels = [template["metadata"]["labels"] for template in pods(overlay)]
    for manifest in manifests(overlay):
        spec = manifest.get("spec", {})
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            assert chosen_by(spec["selector"], spec["template"]["metadata"]["labels"])
        elif manifest["kind"] == "Service":
            assert any(spec["selector"].items() <= one.items() for one in labels)
        elif manifest["kind"] in ("PodDisruptionBudget", "NetworkPolicy"):
            selector = spec.get("selector") or spec["podSelector"]
            assert any(chosen_by(selector, one) for one in labels)
        elif "scaleTargetRef" in spec:
            one(overlay, "Deployment", spec["scaleTargetRef"]["name"])


@every_overlay
def test_no_autoscaled_deployment_says_how_many(overlay: str) -> None:
    for name in ("emaki-api", "emaki-worker"):
        assert "replicas" not in one(overlay, "Deployment", name)["spec"]


def test_pods_get_the_time_that_our_processes_take_to_stop() -> None:
    (settings,) = [m["data"] for m in manifests("base") if m["kind"] == "ConfigMap"]
    api, worker, webhooks = (
        one("base", "Deployment", name)["spec"]["template"]["spec"]
        for name in ("emaki-api", "emaki-worker", "emaki-webhooks")
    )
    longest_try = WebhookSettings.model_fields["webhook_timeout"].default
    assert webhooks["terminationGracePeriodSeconds"] >= longest_try + 10
    drain = float(settings["EMAKI_DRAIN_SECONDS"])
    assert worker["terminationGracePeriodSeconds"] >= drain + 10  # a step, and Redis
    before = float(api["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    needed = before + SECONDS_FOR_OPEN_STREAMS + 10
    assert api["terminationGracePeriodSeconds"] >= needed


@every_overlay
def test_every_variable_is_a_setting(overlay: str) -> None:
    known = {
        f"EMAKI_{field.upper()}"
        for settings in (AppSettings, WorkerSettings)
        for field in settings.model_fields
    }
    named = set(re.findall(r"\bEMAKI_\w+", _rendered(overlay)))
    assert len(named) >= 4
    assert named - {"EMAKI_REDIS_PASSWORD"} <= known


@every_overlay
def test_pods_are_locked_down(overlay: str) -> None:
    for template in pods(overlay):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert not spec["automountServiceAccountToken"]
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]


def test_a_gpu_worker_has_a_gpu_to_itself() -> None:
    (container,) = one("gpu", "Deployment", "emaki-worker")["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"name": "EMAKI_DEVICE", "value": "cuda"} in container["env"]
