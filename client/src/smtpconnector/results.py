"""What the calls answer, as plain frozen values."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

from smtpconnector.delivery import DeliveryState, state_from
from smtpconnector.reply import Reply, reply_from
from smtpconnector.v1 import validation_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpconnector.v1.connector_service_pb2 import SendMessageResponse, ValidateConfigResponse


@dataclass(frozen=True)
class SentMessage:
    """A mail that the SMTP server accepted; with ENQUEUE, the service; with ``validate_only``, that could be sent."""

    message_id: str
    """The Message-ID header, angle brackets included."""
    reply: Reply | None
    """The reply to the end of the message. None with ``validate_only``, and with ENQUEUE until it is sent."""
    usage_type: str
    """The usage type of the template that served: the one asked for, or ``Generic``."""
    host: str
    """The SMTP server."""
    attempts: int
    """How many connections were tried. 0 with ``validate_only``, and with ENQUEUE."""
    delivery_id: str = ""
    """Its name in the service's store, for ``get_delivery`` and the like. Empty: it is not in the store."""
    state: DeliveryState | None = None
    """How far it has come. None: it is not in the store."""


class Depth(IntEnum):
    """How far a validation goes. Each depth includes those before it."""

    SCHEMA = validation_pb2.DEPTH_SCHEMA
    """Read the configuration; connect to nothing."""
    RESOLVE = validation_pb2.DEPTH_RESOLVE
    """Look up the host."""
    CONNECT = validation_pb2.DEPTH_CONNECT
    """Connect, with TLS, up to the reply to EHLO."""
    AUTHENTICATE = validation_pb2.DEPTH_AUTHENTICATE
    """Try the credentials, once."""
    ENVELOPE = validation_pb2.DEPTH_ENVELOPE
    """Ask whether a recipient would be accepted; send nothing."""


class Severity(str, Enum):
    """What a finding means for the configuration."""

    ERROR = "ERROR"
    """It makes the configuration invalid."""
    WARNING = "WARNING"
    """It works, but likely not as meant."""
    INFO = "INFO"
    """Good to know."""
    UNRECOGNIZED = "UNRECOGNIZED"
    """The service is newer than this client."""

    __str__ = str.__str__


class StepStatus(str, Enum):
    """How a step of a validation went."""

    PASSED = "PASSED"
    """Well."""
    FAILED = "FAILED"
    """Wrong; its detail says how."""
    SKIPPED = "SKIPPED"
    """Not tried: an earlier step failed, or it does not apply."""
    UNRECOGNIZED = "UNRECOGNIZED"
    """The service is newer than this client."""

    __str__ = str.__str__


@dataclass(frozen=True)
class Finding:
    """One thing that the validator has to say."""

    severity: Severity
    """What it means for the configuration."""
    field: str
    """The field's path in the caller's own form. Empty: the whole configuration."""
    reason: str
    """A stable name of the kind of finding, such as ``MISSING_TEMPLATE``."""
    message: str
    """What was found."""
    hint: str
    """What to change. Empty: nothing."""


@dataclass(frozen=True)
class Step:
    """One step of a validation."""

    stage: str
    """The step's name, such as ``RESOLVE`` or ``AUTH``."""
    status: StepStatus
    """How it went."""
    seconds: float | None
    """How long it took. None for a skipped step."""
    detail: str
    """What was seen."""


@dataclass(frozen=True)
class Capabilities:
    """What the SMTP server said of itself in its last EHLO reply."""

    extensions: tuple[str, ...]
    """The keywords with their parameters, in the server's order."""
    auth_mechanisms: tuple[str, ...]
    """The mechanisms of the AUTH keyword, in the server's order."""
    max_message_size: int | None
    """The largest message in octets. None: the server names no limit."""
    tls_version: str
    """Such as ``TLSv1.3``. Empty without TLS."""
    level: str = ""
    """How many commands the service sends this server at once: ``SERIAL``, ``PIPELINING`` or ``SINGLE_FLIGHT``. Lower
    than what the server offers after it has shown that it does not cope."""


@dataclass(frozen=True)
class ConfigReport:
    """What is to be said of a configuration."""

    valid: bool
    """True when no finding is an error and no step failed."""
    findings: tuple[Finding, ...]
    """All findings, errors first."""
    steps: tuple[Step, ...]
    """The steps taken, in order."""
    normalized: Mapping[str, Any] | None = dataclasses.field(repr=False)  # JSON, to be read like that of json.loads
    """The configuration as the service understands it, without secrets. None when it is invalid."""
    capabilities: Capabilities | None
    """What the SMTP server said of itself. None when no connection was made."""


_SEVERITIES = {
    validation_pb2.SEVERITY_ERROR: Severity.ERROR,
    validation_pb2.SEVERITY_WARNING: Severity.WARNING,
    validation_pb2.SEVERITY_INFO: Severity.INFO,
}
_STEP_STATUSES = {
    validation_pb2.STEP_STATUS_PASSED: StepStatus.PASSED,
    validation_pb2.STEP_STATUS_FAILED: StepStatus.FAILED,
    validation_pb2.STEP_STATUS_SKIPPED: StepStatus.SKIPPED,
}


def sent_message(response: SendMessageResponse) -> SentMessage:
    """Read the answer of SendMessage."""
    return SentMessage(
        message_id=response.message_id,
        reply=reply_from(response.reply) if response.HasField("reply") else None,
        usage_type=response.usage_type,
        host=response.host,
        attempts=response.attempts,
        delivery_id=response.delivery_id,
        state=state_from(response.state) if response.state else None,
    )


def config_report(response: ValidateConfigResponse) -> ConfigReport:
    """Read the answer of ValidateConfig."""
    return ConfigReport(
        valid=response.valid,
        findings=tuple(_finding(found) for found in response.findings),
        steps=tuple(_step(step) for step in response.steps),
        normalized=MessageToDict(response.normalized) if response.HasField("normalized") else None,
        capabilities=_capabilities(response.capabilities) if response.HasField("capabilities") else None,
    )


def _finding(found: validation_pb2.Finding) -> Finding:
    severity = _SEVERITIES.get(found.severity, Severity.UNRECOGNIZED)
    return Finding(severity, found.field, found.reason, found.message, found.hint)


def _step(step: validation_pb2.Step) -> Step:
    status = _STEP_STATUSES.get(step.status, StepStatus.UNRECOGNIZED)
    seconds = step.duration.ToTimedelta().total_seconds() if step.HasField("duration") else None
    return Step(step.stage, status, seconds, step.detail)


def _capabilities(said: validation_pb2.Capabilities) -> Capabilities:
    return Capabilities(
        extensions=tuple(said.extensions),
        auth_mechanisms=tuple(said.auth_mechanisms),
        max_message_size=said.max_message_size or None,
        tls_version=said.tls_version,
        level=said.level,
    )
