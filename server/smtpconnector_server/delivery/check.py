"""The check of a configuration: what it says, and as deep as asked for, whether a mail could go out with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpconnector_server.config.finding import Severity
from smtpconnector_server.delivery.diagnosis import diagnose
from smtpconnector_server.failure import Stage
from smtpconnector_server.smtp.course import Depth, ProbeStep, StepStatus, plan
from smtpconnector_server.smtp.envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpconnector_server.config.checked import Checked
    from smtpconnector_server.config.finding import Finding
    from smtpconnector_server.config.model import Connector
    from smtpconnector_server.message.address import Address
    from smtpconnector_server.smtp.probe import Probe, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be said of a configuration."""

    steps: tuple[ProbeStep, ...]
    findings: tuple[Finding, ...]
    """Errors first."""
    report: Report | None
    """Of the look at the server. None: there was none."""

    @property
    def is_valid(self) -> bool:
        """Whether no step failed."""
        return all(step.status is not StepStatus.FAILED for step in self.steps)


async def check(
    checked: Checked,
    depth: Depth,
    *,
    probe: Probe,
    seconds_read: float,
    within: float,
    recipient: Address | None = None,
    is_typed: bool = False,
    on_step: Callable[[ProbeStep], None] = lambda _step: None,
) -> Verdict:
    """Check a configuration.

    Args:
        checked: The configuration, read and judged by itself.
        depth: How deep.
        probe: Looks at the server.
        seconds_read: What the reading took.
        within: Seconds for the look.
        recipient: To ask the server about; for ENVELOPE.
        is_typed: Whether it is an ``SmtpConfig`` and not a document.
        on_step: Told each step when it has ended.
    """
    schema = _schema_step(checked, seconds_read)
    on_step(schema)
    if checked.connector is None:
        skipped = [ProbeStep(stage, StepStatus.SKIPPED, None, "an earlier step failed") for stage in plan(None, depth)]
        for step in skipped:
            on_step(step)
        return Verdict(steps=(schema, *skipped), findings=checked.findings, report=None)
    if depth is Depth.SCHEMA:
        return Verdict(steps=(schema,), findings=checked.findings, report=None)
    connector = checked.connector
    server = connector.server
    envelope = _envelope(connector, recipient) if recipient is not None else None
    report = await probe.run(server, depth, within=within, envelope=envelope, on_step=on_step)
    findings = [*checked.findings, *diagnose(report, server, is_typed=is_typed, wants_dsn=connector.dsn is not None)]
    return Verdict(
        steps=(schema, *report.steps),
        findings=tuple(sorted(findings, key=lambda finding: finding.severity)),
        report=report,
    )


def _schema_step(checked: Checked, seconds: float) -> ProbeStep:
    errors = sum(finding.severity is Severity.ERROR for finding in checked.findings)
    others = len(checked.findings) - errors
    detail = f"{errors} error{'s' * (errors != 1)}, {others} other finding{'s' * (others != 1)}"
    status = StepStatus.PASSED if checked.connector is not None else StepStatus.FAILED
    return ProbeStep(Stage.CONFIG, status, seconds, detail)


def _envelope(connector: Connector, recipient: Address) -> Envelope:
    """Return the envelope of a mail to a recipient."""
    sender = connector.from_email.address
    return Envelope(
        sender=str(sender),
        recipient=str(recipient),
        smtputf8=recipient.needs_smtputf8 or sender.needs_smtputf8,
        dsn=connector.dsn,
    )
