"""KEDA's ScaledObject (keda.sh/v1alpha1) as far as our manifests use it: other fields are refused.

Its custom resource stands in no package of schemas; names and kinds are those of KEDA's own CRD.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class _Metadata(_Strict):
    name: str
    labels: dict[str, str] = {}


class _Target(_Strict):
    name: str


class _Fallback(_Strict):
    failure_threshold: int = Field(ge=1)
    replicas: int = Field(ge=0)


class _Autoscaler(_Strict):
    behavior: dict[str, Any]  # autoscaling/v2's own: validated there


class _Advanced(_Strict):
    horizontal_pod_autoscaler_config: _Autoscaler


class _MetricsApi(_Strict):
    """The scaler's metadata: all of it is text."""

    url: str = Field(pattern=r"^http://")
    format: Literal["prometheus"]
    value_location: str
    target_value: str = Field(pattern=r"^[1-9][0-9]*$")


class _Trigger(_Strict):
    type: Literal["metrics-api"]
    metric_type: Literal["AverageValue"]  # a fallback needs it
    metadata: _MetricsApi


class _Spec(_Strict):
    scale_target_ref: _Target
    polling_interval: int = Field(ge=1)
    min_replica_count: int = Field(ge=1)  # zero: nobody would say which models there are
    max_replica_count: int
    fallback: _Fallback
    advanced: _Advanced
    triggers: list[_Trigger] = Field(min_length=1)


class ScaledObject(_Strict):
    """The whole object."""

    api_version: Literal["keda.sh/v1alpha1"]
    kind: Literal["ScaledObject"]
    metadata: _Metadata
    spec: _Spec
