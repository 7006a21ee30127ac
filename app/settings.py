"""The API's settings: environment variables `EMAKI_*`, read once at start."""

import hashlib
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.hosts import ANY, Names, is_loopback, parse_hosts
from app.webhooks.signing import secrets_of
from wire.connect import RedisUrl
from wire.logs import LogFormat, LogLevel
from wire.schemas import DEFAULT_MODEL, MODEL_PATTERN
from wire.traces import Option

_MOST_STORED = 64 * 1024 * 1024
_HASHED = re.compile(r"sha256:[0-9a-f]{64}")


def _checked_secret(value: str) -> str:
    secrets_of(value)
    return value


def _checked_hosts(value: str) -> str:
    parse_hosts(value)
    return value


WebhookSecret = Annotated[str, AfterValidator(_checked_secret)]
Hosts = Annotated[str, AfterValidator(_checked_hosts)]


class AppSettings(BaseSettings):
    """One field per variable; an empty variable counts as unset."""

    model_config = SettingsConfigDict(
        env_prefix="EMAKI_", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    redis_url: RedisUrl | None = Field(
        None, description="Unset: the embedded Redis of `make serve`."
    )
    data: Path = Field(Path(".data"), description="Where the embedded Redis says its address.")
    default_model: str = Field(DEFAULT_MODEL, pattern=MODEL_PATTERN)
    api_keys: str = Field("", description="Comma-separated, plain or sha256:<hex>.")
    max_queue: int = Field(10_000, ge=1, description="Pictures that may wait in the queue.")
    rate_limit: int | None = Field(
        None, ge=1, description="Requests per minute and key; unset: no limit."
    )
    max_streams: int = Field(
        4000, ge=1, description="Event streams that one key may have open in one process."
    )
    request_timeout: float = Field(
        20.0, gt=0, description="Seconds in which a request's header, and then its body, arrives."
    )
    cors_origins: str = Field("", description="Comma-separated origins of other sites' pages.")
    max_stored: int | None = Field(
        None,
        ge=0,
        description="Bytes that one key's results may take in Redis; 0: no limit. Unset: 64 MiB, "
        "or no limit where pictures lie outside.",
    )
    queue_ttl: float = Field(
        24 * 3600.0, gt=0, description="Seconds that a request may wait before it fails."
    )
    model_ttl: float = Field(
        3600.0,
        gt=0,
        description="Seconds that a model stays listed while workers live and none has it.",
    )
    allowed_hosts: Hosts = Field(
        "", description="Comma-separated names of this server; unset: without keys loopback ones."
    )
    public_url: str | None = Field(
        None, description="By what address clients find this server; unset: as they called it."
    )
    max_work: int = Field(64_000, ge=1, description="Images times steps of one request.")
    result_ttl: int = Field(24 * 3600, ge=1, description="Seconds that results are kept.")
    images: str | None = Field(
        None, description="Where pictures lie, as an fsspec URL; unset: in Redis."
    )
    webhook_secret: WebhookSecret = Field(
        "", description="Signs webhooks; comma-separated: each signs, to go over to a new one."
    )
    webhook_hosts: Hosts = Field(
        "", description="Comma-separated hosts of webhooks that may be private, or speak http."
    )
    traces: Option = Field("off", description="otlp: send spans as OTEL_* variables say.")
    log_level: LogLevel = "INFO"
    log_format: LogFormat = Field("text", description="text, or json: one object a line.")

    @field_validator("api_keys")
    @classmethod
    def _well_formed(cls, value: str) -> str:
        for key in filter(None, (part.strip() for part in value.split(","))):
            if key.startswith("sha256:") and not _HASHED.fullmatch(key):
                raise ValueError("a hashed key is sha256: and 64 lower-case hex digits")
        return value

    @field_validator("public_url")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise ValueError("write http:// or https://, a host, and a path if there is one")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _keys_where_others_listen(self) -> Self:
        if not self.key_hashes and not is_loopback(self.host):
            raise ValueError(
                f"EMAKI_HOST={self.host} lets others in, but EMAKI_API_KEYS is empty; set "
                "EMAKI_API_KEYS to a long random key, or listen on 127.0.0.1"
            )
        return self

    @property
    def most_stored(self) -> int:
        """Bytes of one key's results in Redis; 0: no limit."""
        if self.max_stored is not None:
            return self.max_stored
        return 0 if self.images else _MOST_STORED

    @property
    def origins(self) -> list[str]:
        """Other sites whose pages may call this API; empty: none."""
        return [part.strip() for part in self.cors_origins.split(",") if part.strip()]

    @property
    def names(self) -> Names:
        """By what `Host` it may be called, and from what pages."""
        hosts = parse_hosts(self.allowed_hosts)
        if self.key_hashes:  # whoever asks needs a key, so any name and any page will do
            return Names(hosts or (ANY,), None)
        return Names(hosts or None, self.origins)

    @cached_property
    def webhook_names(self) -> tuple[str, ...]:
        """Hosts of webhooks that may be anywhere."""
        return parse_hosts(self.webhook_hosts)

    @cached_property
    def key_hashes(self) -> tuple[bytes, ...]:
        """SHA-256 digests of the keys that are let in; empty: no key is asked for."""
        keys = filter(None, (part.strip() for part in self.api_keys.split(",")))
        return tuple(
            bytes.fromhex(key.removeprefix("sha256:"))
            if _HASHED.fullmatch(key)
            else hashlib.sha256(key.encode()).digest()
            for key in keys
        )
