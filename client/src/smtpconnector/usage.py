"""The usage types that a mail can have: the set is open, these are the well-known ones."""

from __future__ import annotations

from enum import Enum


class UsageType(str, Enum):
    """What a mail is for; it picks the template. Any other text may be a usage type too."""

    SIGN_IN = "SignIn"
    """A code to sign in with."""
    REGISTER = "Register"
    """A code to open an account with."""
    FORGOT_PASSWORD = "ForgotPassword"  # noqa: S105 - the name of a purpose
    """A code to reset a password with."""
    ORGANIZATION_INVITATION = "OrganizationInvitation"
    """A link to join an organization."""
    GENERIC = "Generic"
    """Any other code; this template also serves where the one asked for is missing."""
    USER_PERMISSION_VALIDATION = "UserPermissionValidation"
    """A code to confirm a sensitive action with."""
    BIND_NEW_IDENTIFIER = "BindNewIdentifier"
    """A code to add an address to an account with."""
    MFA_VERIFICATION = "MfaVerification"
    """A code as a second factor."""
    BIND_MFA = "BindMfa"
    """A code to set up a second factor with."""
    TEST = "Test"
    """A trial mail, as older configurations have it."""

    # Python 3.10 and 3.11 disagree about the text of such a member; here it is always the usage type itself.
    __str__ = str.__str__
