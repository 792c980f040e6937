"""From the contract's messages to the domain's values, and back.

What is wrong with a request is collected, so that the caller hears of all of it at once.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector.v1 import validation_pb2
from smtpconnector_server.config.finding import Finding, Severity
from smtpconnector_server.config.normalized import normalized
from smtpconnector_server.config.typed import read_template
from smtpconnector_server.delivery.composition import MailRequest
from smtpconnector_server.failure import Failure, Reason, Stage, Violation
from smtpconnector_server.message.address import Address, AddressError, parse_address
from smtpconnector_server.message.payload import check_payload
from smtpconnector_server.rpc.plain import from_message, from_struct, to_duration, to_struct
from smtpconnector_server.smtp.course import Depth, ProbeStep, StepStatus

if TYPE_CHECKING:
    from smtpconnector_server.config.model import Connector
    from smtpconnector_server.delivery.check import Verdict
    from smtpconnector_server.delivery.composition import Composed
    from smtpconnector_server.delivery.sender import Sent
    from smtpconnector_server.message.template import Template
    from smtpconnector_server.smtp.capabilities import Capabilities
    from smtpconnector_server.smtp.reply import Reply
    from smtpconnector_server.smtp.transaction import Level

_USAGE_TYPE: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,64}")

_DEPTHS: Final = {
    validation_pb2.DEPTH_UNSPECIFIED: Depth.SCHEMA,
    validation_pb2.DEPTH_SCHEMA: Depth.SCHEMA,
    validation_pb2.DEPTH_RESOLVE: Depth.RESOLVE,
    validation_pb2.DEPTH_CONNECT: Depth.CONNECT,
    validation_pb2.DEPTH_AUTHENTICATE: Depth.AUTHENTICATE,
    validation_pb2.DEPTH_ENVELOPE: Depth.ENVELOPE,
}
_STEP_STATUSES: Final = {
    StepStatus.PASSED: validation_pb2.STEP_STATUS_PASSED,
    StepStatus.FAILED: validation_pb2.STEP_STATUS_FAILED,
    StepStatus.SKIPPED: validation_pb2.STEP_STATUS_SKIPPED,
}
_SEVERITIES: Final = {
    Severity.ERROR: validation_pb2.SEVERITY_ERROR,
    Severity.WARNING: validation_pb2.SEVERITY_WARNING,
    Severity.INFO: validation_pb2.SEVERITY_INFO,
}


def to_mail_request(request: pb.SendMessageRequest, violations: list[Violation]) -> MailRequest:
    """Read what mail a SendMessageRequest asks for, its configuration apart.

    Args:
        request: The request.
        violations: What was found wrong with the rest of it.

    Raises:
        Failure: INVALID_REQUEST with every wrong field.
    """
    to = _recipient(request.to, violations)
    if not _USAGE_TYPE.fullmatch(request.type):
        violations.append(Violation("type", "Name a usage type such as SignIn: 1 to 64 characters without controls."))
    if request.client_ip and not _is_ip_address(request.client_ip):
        violations.append(Violation("client_ip", "Give an IPv4 or IPv6 address, or leave it empty."))
    payload = from_struct(request.payload)
    violations.extend(check_payload(payload))
    template = _template(request, violations)
    if violations or to is None:
        raise invalid(violations)
    return MailRequest(to=to, usage_type=request.type, payload=payload, template=template)


def to_send_response(composed: Composed, sent: Sent | None = None) -> pb.SendMessageResponse:
    """Return the answer to a message that was accepted, or only validated."""
    return pb.SendMessageResponse(
        message_id=composed.mail.message_id,
        usage_type=composed.usage_type,
        host=composed.server.host,
        attempts=sent.attempts if sent is not None else 0,
        reply=to_reply(sent.reply) if sent is not None else None,
    )


def to_reply(reply: Reply) -> pb.SmtpReply:
    """Return what an SMTP server said."""
    return pb.SmtpReply(code=reply.code, enhanced_code=reply.enhanced_code, text=reply.text)


def to_depth(request: pb.ValidateConfigRequest) -> tuple[Depth, Address | None]:
    """Read a ValidateConfigRequest, its configuration apart: how deep, and for ENVELOPE, the recipient.

    Raises:
        Failure: INVALID_REQUEST with every wrong field.
    """
    violations: list[Violation] = []
    depth = _DEPTHS.get(request.depth)
    if depth is None:
        violations.append(Violation("depth", "Name one of the depths of the contract."))
    to = None
    if depth is Depth.ENVELOPE:
        to = _recipient(request.to, violations)
    elif request.to:
        violations.append(Violation("to", "A recipient goes with depth ENVELOPE only: leave it empty."))
    if violations or depth is None:
        raise invalid(violations)
    return depth, to


def to_validate_response(connector: Connector | None, verdict: Verdict) -> pb.ValidateConfigResponse:
    """Return what a check has found."""
    response = pb.ValidateConfigResponse(valid=verdict.is_valid)
    response.findings.extend(map(_finding, verdict.findings))
    response.steps.extend(map(_step, verdict.steps))
    if connector is not None:
        response.normalized.CopyFrom(to_struct(normalized(connector)))
    if verdict.report is not None and verdict.report.capabilities is not None:
        response.capabilities.CopyFrom(_capabilities(verdict.report.capabilities, verdict.report.level))
    return response


def invalid(violations: list[Violation]) -> Failure:
    """Return the failure of a request with fields that are wrong."""
    first = violations[0]
    others = f" ({len(violations) - 1} more)" if len(violations) > 1 else ""
    return Failure(
        Reason.INVALID_REQUEST,
        f"{first.field}: {first.description}{others}",
        stage=Stage.REQUEST,
        violations=tuple(violations),
    )


def _recipient(text: str, violations: list[Violation]) -> Address | None:
    try:
        return parse_address(text)
    except AddressError as refused:
        violations.append(Violation("to", str(refused)))
        return None


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _template(request: pb.SendMessageRequest, violations: list[Violation]) -> Template | None:
    if not request.HasField("template"):
        return None
    template, findings = read_template({**from_message(request.template), "usage_type": request.type})
    violations.extend(
        Violation(f"template.{finding.field}".rstrip("."), f"{finding.message} {finding.hint}".rstrip())
        for finding in findings
        if finding.severity is Severity.ERROR
    )
    return template


def _step(step: ProbeStep) -> validation_pb2.Step:
    return validation_pb2.Step(
        stage=step.name,
        status=_STEP_STATUSES[step.status],
        duration=None if step.seconds is None else to_duration(step.seconds),
        detail=step.detail,
    )


def _capabilities(offered: Capabilities, level: Level | None) -> validation_pb2.Capabilities:
    return validation_pb2.Capabilities(
        extensions=offered.extensions,
        auth_mechanisms=offered.auth_mechanisms,
        max_message_size=offered.max_message_size,
        tls_version=offered.tls_version,
        level=level.name if level is not None else "",
    )


def _finding(finding: Finding) -> validation_pb2.Finding:
    return validation_pb2.Finding(
        severity=_SEVERITIES[finding.severity],
        field=finding.field,
        reason=finding.reason,
        message=finding.message,
        hint=finding.hint,
    )
