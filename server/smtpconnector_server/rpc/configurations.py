"""Which configuration a call works with: a profile of the server's, or one that came with the call.

A configuration that comes with a call is read, checked and compiled once, and kept by its fingerprint: a hash over the
whole message, secrets included, so that two callers share an entry only if they sent the very same thing.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.document import read_document
from smtpconnector_server.config.finding import Severity
from smtpconnector_server.config.origin import Origin
from smtpconnector_server.config.source import Source, SourceKind
from smtpconnector_server.config.typed import read_typed
from smtpconnector_server.delivery.prepared import Prepared, prepare
from smtpconnector_server.failure import Failure, Reason, Stage, Violation
from smtpconnector_server.rpc.plain import from_message, from_struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpconnector.v1 import config_pb2
    from smtpconnector_server.config.checked import Checked
    from smtpconnector_server.config.profile import Profile
    from smtpconnector_server.rpc.callers import Principal

DEFAULT_PROFILE: Final = "default"
_MAX_KEPT: Final = 1000
_MAX_KEPT_OCTETS: Final = 64 * 1024 * 1024
"""Of the messages that the kept configurations came in; what is made of them is a small multiple."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration that was read and checked, and compiled where it is valid."""

    checked: Checked
    prepared: Prepared | None
    """None: it is invalid."""
    path: str
    """Where it stands in the request, such as ``config.document``."""
    profile: str | None
    """The profile's name. None: it came with a call."""

    @property
    def origin(self) -> Origin:
        """Whose it is, and so where it may connect to."""
        return Origin.of(self.profile)

    def require(self) -> Prepared:
        """Return it ready for use.

        Raises:
            Failure: INVALID_CONFIG with every error as a violation.
        """
        if self.prepared is not None:
            return self.prepared
        errors = [finding for finding in self.checked.findings if finding.severity is Severity.ERROR]
        raise Failure(
            Reason.INVALID_CONFIG,
            f"The configuration cannot be used: {errors[0].message}",
            stage=Stage.CONFIG,
            violations=tuple(
                Violation(f"{self.path}.{finding.field}".rstrip("."), f"{finding.message} {finding.hint}".rstrip())
                for finding in errors
            ),
        )


class Configurations:
    """The profiles, and the most recent configurations that came with calls."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self._profiles: dict[str, Configuration] = {}
        for name, profile in profiles.items():
            self.replace(name, profile)
        self._kept: OrderedDict[bytes, tuple[Configuration, int]] = OrderedDict()
        self._kept_octets = 0

    def replace(self, name: str, profile: Profile) -> None:
        """Hold a profile, in place of the one that had its name."""
        self._profiles[name] = _configured(profile.checked, "config.profile", name)

    def find(self, config: config_pb2.ConnectorConfig, caller: Principal) -> Configuration:
        """Return the configuration that a ConnectorConfig names or carries; unset means the profile ``default``.

        Raises:
            Failure: PERMISSION_DENIED, for what the caller may not use; PROFILE_NOT_FOUND.
        """
        source = config.WhichOneof("source")
        if source is None or source == "profile":
            name = config.profile or DEFAULT_PROFILE
            caller.require_profile(name)
            return self._profile(name)
        caller.require_own_configurations()
        octets = config.SerializeToString(deterministic=True)
        fingerprint = hashlib.sha256(octets).digest()
        if fingerprint in self._kept:
            self._kept.move_to_end(fingerprint)
            return self._kept[fingerprint][0]
        if source == "document":
            checked = read_document(from_struct(config.document), origin=Origin.CALLER)
        else:
            checked = read_typed(from_message(config.smtp))
        configuration = _configured(checked, f"config.{source}", None)
        self._keep(fingerprint, configuration, len(octets))
        return configuration

    def restore(self, source: Source) -> Prepared:
        """Return a configuration, as it is now, that a message was accepted with.

        Raises:
            Failure: PROFILE_NOT_FOUND; INVALID_CONFIG.
        """
        if source.kind is SourceKind.PROFILE:
            return self._profile(source.profile or DEFAULT_PROFILE).require()
        if source.kind is SourceKind.DOCUMENT:
            checked = read_document(source.values, origin=Origin.CALLER)
        else:
            checked = read_typed(source.values)
        return _configured(checked, f"config.{source.kind.value}", None).require()

    def _profile(self, name: str) -> Configuration:
        try:
            return self._profiles[name]
        except KeyError:
            hint = (
                "Name one that exists, or send a configuration."
                if name != DEFAULT_PROFILE
                else ("Start the server with `--profile default=FILE`, name another profile, or send a configuration.")
            )
            raise Failure(
                Reason.PROFILE_NOT_FOUND, f"The server has no such profile. {hint}", stage=Stage.CONFIG
            ) from None

    def _keep(self, fingerprint: bytes, configuration: Configuration, octets: int) -> None:
        self._kept[fingerprint] = configuration, octets
        self._kept_octets += octets
        while len(self._kept) > _MAX_KEPT or self._kept_octets > _MAX_KEPT_OCTETS:
            _, (_, freed) = self._kept.popitem(last=False)
            self._kept_octets -= freed


def to_source(config: config_pb2.ConnectorConfig) -> Source:
    """Return what a ConnectorConfig names or carries in a form that can be kept."""
    match config.WhichOneof("source"):
        case "document":
            return Source(SourceKind.DOCUMENT, values=from_struct(config.document))
        case "smtp":
            return Source(SourceKind.SMTP, values=from_message(config.smtp))
        case _:
            return Source(SourceKind.PROFILE, profile=config.profile or DEFAULT_PROFILE)


def _configured(checked: Checked, path: str, profile: str | None) -> Configuration:
    prepared = prepare(checked.connector, profile) if checked.connector is not None else None
    return Configuration(checked, prepared, path, profile)
