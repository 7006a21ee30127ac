"""The deliverer's settings: environment variables `EMAKI_*`, read once at start."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.settings import Hosts, WebhookSecret
from wire.connect import RedisUrl
from wire.logs import LogFormat, LogLevel


class WebhookSettings(BaseSettings):
    """One field per variable; an empty variable counts as unset."""

    model_config = SettingsConfigDict(
        env_prefix="EMAKI_", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    redis_url: RedisUrl | None = Field(
        None, description="Unset: the embedded Redis of `make serve`."
    )
    data: Path = Field(Path(".data"), description="Where the embedded Redis says its address.")
    webhook_secret: WebhookSecret = ""
    webhook_hosts: Hosts = ""
    webhook_timeout: float = Field(10.0, gt=0, le=60, description="Seconds of one try.")
    webhook_seconds: float = Field(
        24 * 3600.0, gt=0, description="How long a message is tried, before it is given up."
    )
    log_level: LogLevel = "INFO"
    log_format: LogFormat = Field("text", description="text, or json: one object a line.")
