"""The worker's settings: environment variables `EMAKI_*`, read once at start."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from wire.connect import RedisUrl
from wire.logs import LogFormat, LogLevel
from wire.schemas import DEFAULT_MODEL
from wire.traces import Option
from worker.engine.precision import Precision


class WorkerSettings(BaseSettings):
    """One field per variable; an empty variable counts as unset."""

    model_config = SettingsConfigDict(env_prefix="EMAKI_", env_ignore_empty=True, extra="ignore")

    redis_url: RedisUrl | None = Field(
        None, description="Unset: the embedded Redis of `make serve`."
    )
    data: Path = Field(Path(".data"), description="Where the embedded Redis says its address.")
    checkpoints: Path = Path("checkpoints")
    default_model: str = Field(DEFAULT_MODEL, description="Loaded first.")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    threads: int | None = Field(
        None, ge=1, le=256, description="Cores that draw side by side; unset: all."
    )
    precision: Precision | None = Field(
        None, description="Unset: exact where it is as fast as any, else balanced."
    )
    chunk: int | None = Field(
        None, ge=1, le=4096, description="Places of a step on a GPU; unset: chosen by measuring."
    )
    drain_seconds: float = Field(8.0, ge=0, description="On SIGTERM, finish what runs for so long.")
    worker_ttl: float = Field(
        12.0,
        ge=2,
        description="Seconds without a heartbeat after which others take this worker's requests.",
    )
    step_timeout: float = Field(
        30.0,
        gt=0,
        description="Seconds without a step after which the worker counts as hung and leaves; "
        "its heartbeats stop after a third of that. Slow models get more by themselves.",
    )
    images: str | None = Field(
        None, description="Where pictures lie, as an fsspec URL; unset: in Redis."
    )
    traces: Option = Field("off", description="otlp: send spans as OTEL_* variables say.")
    log_level: LogLevel = "INFO"
    log_format: LogFormat = Field("text", description="text, or json: one object a line.")
