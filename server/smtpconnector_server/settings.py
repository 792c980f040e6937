"""The server's settings: one frozen object from flags, environment and file, in this order of precedence.

Each setting has the same name everywhere: ``--grace``, ``SMTPCONNECTOR_GRACE``, ``grace`` in the settings file (TOML).
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from smtpconnector_server.rpc.rates import Rate, parse_rates
from smtpconnector_server.smtp.target import parse_target
from smtpconnector_server.telemetry.logs import LogFormat, LogLevel

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX: Final = "SMTPCONNECTOR_"
_FILE_VARIABLE: Final = f"{_PREFIX}SETTINGS"
_PROFILE_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LISTEN: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:\[\]]*):(?P<port>[0-9]{1,5})")
_DURATION: Final = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?) ?(?P<unit>[smhd])")
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MAX_PORT: Final = 65535


class SettingsError(ValueError):
    """The settings cannot be used; the text says which and why."""


def _parse_profiles(value: object) -> object:
    """Accept ``NAME=FILE`` texts, several separated by commas in the environment, beside a mapping in the file."""
    texts = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, list):
        return texts
    profiles: dict[str, str] = {}
    for text in texts:
        name, equals, file = str(text).strip().partition("=")
        if not equals or not file:
            raise ValueError(f"a profile is NAME=FILE, such as default=gmail.json; got {text!r}")
        if name in profiles:
            raise ValueError(f"the profile {name!r} is given twice")
        profiles[name] = file
    return profiles


def _parse_rates(value: object) -> object:
    return parse_rates(value) if isinstance(value, str) else value


def _parse_duration(value: object) -> object:
    """Accept texts such as ``7d`` beside a number of seconds."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return value
    return float(match["number"]) * _SECONDS[match["unit"]]


def _check_profile_names(profiles: dict[str, Path]) -> dict[str, Path]:
    for name in profiles:
        if not _PROFILE_NAME.fullmatch(name):
            raise ValueError(f"a profile's name is 1 to 64 characters of A-Z a-z 0-9 . _ -; got {name!r}")
    return profiles


def _is_loopback(listen: str) -> bool:
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_listen(listen: str) -> str:
    match = _LISTEN.fullmatch(listen)
    if match is None or int(match["port"]) > _MAX_PORT:
        raise ValueError(f"an address is HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051; got {listen!r}")
    return listen


def _check_metrics_listen(listen: str | None) -> str | None:
    return None if listen is None else _check_listen(listen)


Rates: TypeAlias = Annotated[tuple[Rate, ...], NoDecode, BeforeValidator(_parse_rates)]


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _check_targets(targets: tuple[str, ...]) -> tuple[str, ...]:
    for target in targets:
        parse_target(target)
    return targets


class Settings(BaseSettings):
    """All that the server can be told from outside."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="forbid", frozen=True)

    listen: Annotated[str, AfterValidator(_check_listen)] = "127.0.0.1:50051"
    """Where to serve, HOST:PORT; port 0 takes a free one."""
    profile: Annotated[
        dict[str, Path], NoDecode, BeforeValidator(_parse_profiles), AfterValidator(_check_profile_names)
    ] = Field(default_factory=dict)
    """The files of the profiles, by name."""
    allow_target: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_targets)] = ()
    """Targets that configurations which callers bring may connect to although they are not public: HOST or CIDR, with
    an optional :PORT."""
    tls_cert: Path | None = None
    """The server's certificate chain, PEM. None: serve in the clear."""
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    """The CA of client certificates, PEM: every caller must show one. None: none is asked for."""
    auth_tokens: Path | None = None
    """The file of callers (TOML): who they are and what they may use. None: anybody may call."""
    insecure: bool = False
    """Allow to serve other machines without TLS or without authentication."""
    max_calls: int = Field(default=2000, ge=1)
    """Calls at once, in each worker; a watch counts for as long as it lasts. GetMetadata and health are not counted."""
    max_calls_per_caller: int = Field(default=2000, ge=1)
    limit_recipient: Rates = ()
    """How many mails one recipient may get, such as ``5/10minute, 20/day``; counted by all servers on one store
    together, without a store by each worker for itself. Empty: no limit."""
    limit_client_ip: Rates = ()
    """How many mails one end user may cause, by SendMessageRequest.client_ip."""
    limit_profile: Rates = ()
    """How many mails each profile may send."""
    store: str = "memory"
    """Where messages are kept that must survive this process: the path of an SQLite file, a PostgreSQL URL, or
    ``memory``: nowhere, and then request_id and DELIVERY_MODE_ENQUEUE are refused."""
    store_key: SecretStr | None = None
    """The file of the keys that encrypt what the store holds, or its content. None: for SQLite, the file beside the
    store with ``.key`` at its end."""
    store_retention: Annotated[float, BeforeValidator(_parse_duration)] = Field(default=7 * 24 * 3600.0, ge=60)
    """Seconds, or a text such as ``7d``, that the end of a message, and so its request_id, is remembered."""
    workers: int = Field(default=1, ge=1, le=256)
    """Processes that share the port."""
    metrics_listen: Annotated[str | None, AfterValidator(_check_metrics_listen)] = None
    """Where to serve metrics for Prometheus, HOST:PORT; port 0 takes a free one. None: nowhere."""
    grace: float = Field(default=30.0, ge=0, le=3600)
    """Seconds that calls in flight get to finish after SIGTERM."""
    log_format: LogFormat = "auto"
    log_level: LogLevel = "info"
    log_hash_key: Annotated[SecretStr, Field(min_length=16)] | None = None
    """The key of the hashes that stand for recipients in logs. None: one of this process alone."""

    @model_validator(mode="after")
    def _check_exposure(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together: give both or neither")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca needs tls_cert and tls_key")
        is_authenticated = self.tls_client_ca is not None or self.auth_tokens is not None
        if not (self.insecure or _is_loopback(self.listen) or (self.tls_cert is not None and is_authenticated)):
            raise ValueError(
                f"{self.listen} can be reached from other machines: give --tls-cert and --tls-key, and --auth-tokens "
                "or --tls-client-ca; or listen on 127.0.0.1; or say --insecure if something else protects this port"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment only: flags and the file come in through :func:`load_settings`."""
        del settings_cls, dotenv_settings, file_secret_settings
        return init_settings, env_settings


def load_settings(flags: Mapping[str, Any], file: Path | None = None) -> Settings:
    """Return the settings.

    Args:
        flags: Values of the command line, by setting; None where a flag was not given.
        file: The settings file. None: the one that ``SMTPCONNECTOR_SETTINGS`` names, or none.

    Raises:
        SettingsError: A value is wrong, a key is unknown or the file cannot be read.
    """
    if file is None and os.environ.get(_FILE_VARIABLE):
        file = Path(os.environ[_FILE_VARIABLE])
    values = _read_file(file) if file is not None else {}
    values = {key: value for key, value in values.items() if f"{_PREFIX}{key.upper()}" not in os.environ}
    values.update({key: value for key, value in flags.items() if value is not None})
    try:
        return Settings(**values)
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}".removeprefix(": ")
            for fault in error.errors(include_input=False)
        ]
        raise SettingsError("; ".join(lines)) from None


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {file} is not TOML: {error}") from None
