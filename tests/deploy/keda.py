"""What KEDA's ScaledObject may say: its custom resource, and the scaler that our manifests name."""

from typing import Any, Literal

from cloudcoil.models.keda.v1alpha1 import ScaledObject
from pydantic import BaseModel, ConfigDict, Field


class _MetricsApi(BaseModel):
    """The metrics-api scaler's metadata, of which the custom resource says only that it is text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: str = Field(pattern=r"^http://")
    format: Literal["prometheus"]
    valueLocation: str  # noqa: N815
    targetValue: str = Field(pattern=r"^[1-9][0-9]*$")  # noqa: N815


def validate(manifest: dict[str, Any]) -> None:
    """Raise ValueError for a field that KEDA 2.16 does not know, or knows otherwise."""
    read = ScaledObject.model_validate(manifest)
    said = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if said != manifest:
        raise ValueError(f"KEDA reads {said}, not {manifest}")
    assert manifest["spec"]["minReplicaCount"] >= 1  # without a worker nobody says which models are
    for trigger in manifest["spec"]["triggers"]:
        assert (trigger["type"], trigger["metricType"]) == ("metrics-api", "AverageValue")
        _MetricsApi.model_validate(trigger["metadata"])
