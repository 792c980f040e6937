"""Configurations for tests of the validator, and what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.documents import plain_templates
from smtpconnector_server.config.document import read_document
from smtpconnector_server.config.finding import Severity
from smtpconnector_server.config.origin import Origin

if TYPE_CHECKING:
    from smtpconnector_server.config.checked import Checked
    from smtpconnector_server.config.finding import Finding
    from smtpconnector_server.config.model import Connector


def document(**changes: Any) -> dict[str, Any]:
    """A document with which nothing is wrong, changed; ``...`` removes a key."""
    whole = {
        "host": "smtp.example.com",
        "port": 587,
        "auth": {"user": "ada@example.com", "pass": "hunter-two"},
        "fromEmail": "Ada <ada@example.com>",
        "templates": plain_templates(),
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not ...}


def check(**changes: Any) -> Checked:
    """What the validator says of a caller's document with these changes."""
    return read_document(document(**changes), origin=Origin.CALLER)


def check_profile(**changes: Any) -> Checked:
    """What the validator says of an operator's document with these changes."""
    return read_document(document(**changes), origin=Origin.PROFILE)


def connector(**changes: Any) -> Connector:
    """The configuration that a document with these changes is."""
    checked = check(**changes)
    assert checked.connector is not None, checked.findings
    return checked.connector


def said(checked: Checked) -> list[tuple[str, str, str]]:
    """Severity, field and reason of each finding."""
    return [(finding.severity.name, finding.field, finding.reason) for finding in checked.findings]


def errors(checked: Checked) -> list[tuple[str, str]]:
    """Field and reason of each error."""
    return [(finding.field, finding.reason) for finding in checked.findings if finding.severity is Severity.ERROR]


def the_finding(checked: Checked, field: str) -> Finding:
    """The one finding about a field."""
    found = [finding for finding in checked.findings if finding.field == field]
    assert len(found) == 1, checked.findings
    return found[0]
