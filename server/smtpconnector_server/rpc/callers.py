"""Who calls, and what he may use.

A caller proves who he is by a bearer token or by a client certificate. Tokens are kept as SHA-256 hashes only (they are
long and random, so a slow hash would add nothing) and compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import time
import tomllib
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import structlog
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.file_stamp import file_stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]

EVERY_PROFILE: Final = "*"
_LOOK_SECONDS: Final = 1.0
"""Between two looks whether the file has changed."""
_SCHEME: Final = "bearer "
_MAX_TOKEN_CHARACTERS: Final = 4096
_SUBJECT_ALTERNATIVE_NAME: Final = "x509_subject_alternative_name"


_log = structlog.get_logger()


class CallersError(ValueError):
    """The file of callers cannot be used; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A caller whom the operator knows, and what he may use."""

    name: str
    profiles: frozenset[str] = frozenset({EVERY_PROFILE})
    """The names of the profiles; ``*`` stands for every one."""
    own_configurations: bool = True
    """Whether he may bring configurations of his own."""
    operator: bool = False
    """Whether he sees everybody's messages in the store, and decides about those that are held."""

    def require_profile(self, profile: str) -> None:
        """Check that he may use a profile, without telling whether it exists.

        Raises:
            Failure: PERMISSION_DENIED.
        """
        if EVERY_PROFILE not in self.profiles and profile not in self.profiles:
            raise _denied("You may not use this profile.")

    def require_own_configurations(self) -> None:
        """Check that he may bring configurations of his own.

        Raises:
            Failure: PERMISSION_DENIED.
        """
        if not self.own_configurations:
            raise _denied("You may use profiles of the server only, no configuration of your own.")

    def require_operator(self) -> None:
        """Check that he may decide about messages.

        Raises:
            Failure: PERMISSION_DENIED.
        """
        if not self.operator:
            raise _denied("Only an operator may do this (`operator = true` in the server's file of callers).")


ANYBODY: Final = Principal(name="anybody", operator=True)
"""Who calls a server that asks nobody who he is."""

CALLER: Final[ContextVar[Principal]] = ContextVar("caller", default=ANYBODY)
"""Who makes the call that is being answered."""


class _Entry(BaseModel):
    """One principal of the file."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    token_sha256: list[Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", to_lower=True)]] = Field(
        default_factory=list
    )
    certificate_names: list[str] = Field(default_factory=list)
    profiles: list[str] = Field(default_factory=lambda: [EVERY_PROFILE])
    own_configurations: bool = False
    operator: bool = False


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    principals: dict[str, _Entry]


@dataclass(frozen=True, slots=True)
class Callers:
    """The principals, by what they show."""

    by_token_hash: tuple[tuple[bytes, Principal], ...] = field(default=(), repr=False)
    by_certificate_name: dict[str, Principal] = field(default_factory=dict)
    any_certificate: bool = False
    """Whether a client certificate that the TLS handshake accepted is enough, whatever its names."""

    def identify(self, metadata: Metadata, auth_context: Mapping[str, Iterable[bytes]]) -> Principal:
        """Return who calls.

        Args:
            metadata: Of the call.
            auth_context: Of its connection, as gRPC has it.

        Raises:
            Failure: UNAUTHENTICATED.
        """
        principal = self._by_token(metadata) or self._by_certificate(auth_context)
        if principal is None:
            raise Failure(
                Reason.UNAUTHENTICATED,
                "Show a valid token (metadata `authorization: Bearer TOKEN`) or a client certificate that the server "
                "knows.",
                stage=Stage.REQUEST,
            )
        return principal

    def _by_token(self, metadata: Metadata) -> Principal | None:
        shown = [value for key, value in metadata if key == "authorization"]
        if len(shown) != 1 or not isinstance(shown[0], str) or not shown[0].lower().startswith(_SCHEME):
            return None
        token = shown[0][len(_SCHEME) :].strip()
        if len(token) > _MAX_TOKEN_CHARACTERS:
            return None
        digest = hashlib.sha256(token.encode()).digest()
        found = None
        for known, principal in self.by_token_hash:  # all of them, so that time tells nothing of the place
            if hmac.compare_digest(digest, known):
                found = principal
        return found

    def _by_certificate(self, auth_context: Mapping[str, Iterable[bytes]]) -> Principal | None:
        names = [name.decode(errors="replace") for name in auth_context.get(_SUBJECT_ALTERNATIVE_NAME, ())]
        for name in names:
            if name in self.by_certificate_name:
                return self.by_certificate_name[name]
        return Principal(name=names[0]) if names and self.any_certificate else None


class CallersFile:
    """The callers of a file, read again when it changes; a new version that cannot be used is logged and not taken.

    Args:
        file: TOML.

    Raises:
        CallersError: It cannot be used.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = file_stamp(file)
        self._looked_at = time.monotonic()
        self._callers = read_callers(file)

    def identify(self, metadata: Metadata, auth_context: Mapping[str, Iterable[bytes]]) -> Principal:
        """Return who calls.

        Raises:
            Failure: UNAUTHENTICATED.
        """
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._reload()
        return self._callers.identify(metadata, auth_context)

    def _reload(self) -> None:
        stamp = file_stamp(self._file)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._callers = read_callers(self._file)
        except CallersError as error:
            _log.error("callers_refused", error=str(error))
        else:
            _log.info("callers_reloaded")


def read_callers(file: Path) -> Callers:
    """Read the file of callers (TOML).

    Raises:
        CallersError: It cannot be read or does not fit.
    """
    try:
        entries = _File.model_validate(tomllib.loads(file.read_text(encoding="utf-8"))).principals
    except OSError as error:
        raise CallersError(f"cannot read {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CallersError(f"{file} is not TOML: {error}") from None
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise CallersError(f"{file}: {faults}") from None
    by_token_hash: list[tuple[bytes, Principal]] = []
    by_certificate_name: dict[str, Principal] = {}
    for name, entry in entries.items():
        if not entry.token_sha256 and not entry.certificate_names:
            raise CallersError(f"{file}: principals.{name} has neither token_sha256 nor certificate_names")
        principal = Principal(
            name=name,
            profiles=frozenset(entry.profiles),
            own_configurations=entry.own_configurations,
            operator=entry.operator,
        )
        by_token_hash.extend((bytes.fromhex(digest), principal) for digest in entry.token_sha256)
        by_certificate_name.update(dict.fromkeys(entry.certificate_names, principal))
    return Callers(tuple(by_token_hash), by_certificate_name)


def _denied(message: str) -> Failure:
    return Failure(Reason.PERMISSION_DENIED, message, stage=Stage.REQUEST)
