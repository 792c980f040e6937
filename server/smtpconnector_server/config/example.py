"""An example of the configuration document with every parameter, to be filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.keys import keys
from smtpconnector_server.config.templates import LINK_USAGE_TYPES, OLD_USAGE_TYPE, USAGE_TYPES

if TYPE_CHECKING:
    from smtpconnector_server.config.intake import Json
    from smtpconnector_server.config.keys import Key

_TEMPLATES: Final = "templates"
_SUBJECTS: Final = {
    "Register": "Welcome",
    "SignIn": "Your sign-in code",
    "ForgotPassword": "Reset your password",
    "Generic": "Your code",
    "UserPermissionValidation": "Confirm it is you",
    "BindNewIdentifier": "Confirm your new address",
    "MfaVerification": "Your second step",
    "BindMfa": "Add a second step",
    "OrganizationInvitation": "You are invited",
}


def example_document() -> dict[str, Json]:
    """Return a document with every key of the form; ``<…>`` stands where only the operator knows the value."""
    return {
        key.name: example_value(key, key.default if key.example is None else key.example)
        for key in keys()
        if key.form is not None
    }


def example_value(key: Key, value: Json) -> Json:
    """Return a key's value, of which the templates are made here: one for each usage type of today."""
    if key.name != _TEMPLATES:
        return value
    return [_template(usage_type) for usage_type in USAGE_TYPES if usage_type != OLD_USAGE_TYPE]


def _template(usage_type: str) -> dict[str, Json]:
    content = "Your code is {{code}}. It is valid for 10 minutes."
    if usage_type in LINK_USAGE_TYPES:
        content = "Follow this link to join: {{link}}"
    return {
        "usageType": usage_type,
        "contentType": "text/plain",
        "subject": _SUBJECTS[usage_type],
        "content": content,
    }
