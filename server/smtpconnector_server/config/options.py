"""Keys that are not read: nodemailer's other options with why they have no effect here, and what no one knows.

An option that would be dangerous to ignore silently is an error when it is switched on; any other is a warning.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from smtpconnector_server.config.finding import Severity
from smtpconnector_server.config.path import child
from smtpconnector_server.config.shape import (
    ClientKeyShape,
    DkimShape,
    DocumentShape,
    OAuth2Shape,
    OtpShape,
    PrivateKeyShape,
    TlsShape,
    key_names,
)

if TYPE_CHECKING:
    from smtpconnector_server.config.finding import Findings
    from smtpconnector_server.config.shape import Shape
    from smtpconnector_server.config.structure import Section

_SCHEMA_KEY: Final = "$schema"
"""By which editors know what the document is."""
_OFF: Final = (None, False, 0, "")
_MOST_SUGGESTIONS: Final = 20  # each costs a comparison with every known key
_LONGEST_GUESS: Final = 40


@dataclass(frozen=True, slots=True)
class UnusedOption:
    """An option that somebody may give, and that changes nothing here."""

    why: str
    """Completes the sentence "{option} has no effect: …"."""
    instead: str = ""
    reason: str = "NO_EFFECT"
    severity: Severity = Severity.WARNING

    @property
    def is_refused(self) -> bool:
        """Whether it is an error to switch it on."""
        return self.severity is Severity.ERROR


def _later(why: str, instead: str = "") -> UnusedOption:
    return UnusedOption(why, instead, "NOT_SUPPORTED_YET")


def _refused(why: str, instead: str = "") -> UnusedOption:
    return UnusedOption(why, instead, "NOT_SUPPORTED", Severity.ERROR)


_NODE = UnusedOption("it is a matter of Node.js", "Remove it.")
_ENCODING = UnusedOption("the encoding is chosen by the text", "Remove it.")
_TLS_DETAIL = UnusedOption("Python's ssl leaves it to OpenSSL", "Remove it; the server's OpenSSL configuration has it.")
_OTHER_TRANSPORT = _refused("this service speaks SMTP and nothing else", "Give host, port and auth of an SMTP server.")
_REPOINTS = _refused("it would connect to another server than host says", "Give host and port on the top level.")

_TRANSPORT: Final = {
    "maxRequeues": UnusedOption("a mail is tried again within the call's deadline only", "Set that deadline."),
    "requireTLSExtensionEnabled": _refused("REQUIRETLS (RFC 8689) is not asked for yet, so nothing would require TLS"),
    "proxy": _refused("connections through a proxy are not made yet, and going around it may be forbidden"),
    "lmtp": _refused("LMTP is another protocol than SMTP", "Give a server that speaks SMTP."),
    "url": _refused("a server is named by its parts here", "Give host, port, secure and auth."),
    "sendmail": _OTHER_TRANSPORT,
    "streamTransport": _OTHER_TRANSPORT,
    "jsonTransport": _OTHER_TRANSPORT,
    "SES": _OTHER_TRANSPORT,
    "path": _NODE,
    "newline": UnusedOption("SMTP ends lines by CR LF, always", "Remove it."),
    "opportunisticTLS": UnusedOption("a server that offers STARTTLS and refuses it is not sent to in the clear"),
    "forceAuth": UnusedOption("credentials are an error where the server does not offer AUTH", "Remove it."),
    "customAuth": _NODE,
    "getSocket": _NODE,
    "connection": _NODE,
    "socket": _NODE,
    "secured": _NODE,
    "signal": _NODE,
    "normalizeHeaderKey": _NODE,
    "allowInternalNetworkInterfaces": UnusedOption(
        "which targets may be connected to is set for the whole server", "See the option --allow-target of the server."
    ),
    "transactionLog": UnusedOption("debug logs the same", "Give debug, in a profile of the server."),
    "component": UnusedOption("lines of the log name the server", "Remove it."),
    "socketCloseTimeout": UnusedOption("a connection is closed at once", "Remove it."),
    "maxResponseSize": UnusedOption("replies are always bounded", "Remove it."),
    "maxRecipients": UnusedOption("a mail has exactly one recipient", "Remove it."),
    "encoding": _ENCODING,
    "textEncoding": _ENCODING,
    "attachDataUrls": UnusedOption("there are no attachments", "Link the picture by its URL."),
    "priority": UnusedOption("no priority is written", "Give X-Priority in customHeaders."),
    "xMailer": UnusedOption("no X-Mailer is written", "Give X-Mailer in customHeaders."),
    "list": UnusedOption("List-* headers are plain headers here", "Give List-Unsubscribe in customHeaders."),
}
_NO_POOL: Final = UnusedOption(
    "connections are always kept and used again", "Give maxMessages 1 for a connection to each mail."
)
_TLS: Final = {
    "pfx": _refused("PKCS #12 is not read, so no certificate would be shown", "Give cert and key as PEM text."),
    "crl": _refused("revocation lists are not read, so revoked certificates would pass"),
    "secureProtocol": _refused("it is deprecated in Node.js", "Give minVersion and maxVersion."),
    "host": _REPOINTS,
    "port": _REPOINTS,
    "path": _REPOINTS,
    "socket": _REPOINTS,
    "checkServerIdentity": _NODE,
    "secureContext": _NODE,
    "pskCallback": _NODE,
    "lookup": _NODE,
    "enableTrace": _NODE,
    "highWaterMark": _NODE,
    "timeout": _NODE,
    "session": _NODE,
    "ticketKeys": _NODE,
    "sessionIdContext": _NODE,
    "sessionTimeout": _NODE,
    "requestOCSP": _TLS_DETAIL,
    "honorCipherOrder": _TLS_DETAIL,
    "ecdhCurve": _TLS_DETAIL,
    "sigalgs": _TLS_DETAIL,
    "dhparam": _TLS_DETAIL,
    "minDHSize": _TLS_DETAIL,
    "secureOptions": _TLS_DETAIL,
    "ALPNProtocols": UnusedOption("SMTP uses none", "Remove it."),
}
_OAUTH2: Final = {
    "pass": UnusedOption("an OAuth 2.0 identity has no password", "Remove it."),
    "timeout": UnusedOption("when a token ends is said by expires", "Give expires, in milliseconds since 1970."),
    "serviceRequestTimeout": UnusedOption("an assertion lives for five minutes", "Remove it."),
    "requestTimeout": UnusedOption("the call's deadline bounds it", "Remove it."),
    "customParams": _later("the request for a token has no further parameters yet", "scope has a key of its own."),
    "customHeaders": _later("the request for a token has no further headers yet"),
    "tls": _later("the token end point's certificate is always checked against the system's authorities"),
    "provisionCallback": _NODE,
}

_FILE: Final = {"file": _refused("files are read for profiles of the server only", "Give the text itself.")}

_OTP: Final = {"code": UnusedOption("the code is the value of code in each mail's payload", "Remove it.")}

_DKIM: Final = {
    "cacheDir": UnusedOption("nothing is written to a disk", "Remove it."),
    "cacheTreshold": UnusedOption("nothing is written to a disk", "Remove it."),
}

UNUSED: Final[dict[type[Shape], dict[str, UnusedOption]]] = {
    DocumentShape: _TRANSPORT,
    TlsShape: _TLS | _FILE,
    ClientKeyShape: _FILE,
    PrivateKeyShape: _FILE,
    OAuth2Shape: _OAUTH2,
    OtpShape: _OTP,
    DkimShape: _DKIM,
}

_SYNONYMS: Final = {
    "from": "fromEmail",
    "sender": "fromEmail",
    "headers": "customHeaders",
    "hostname": "host",
    "server": "host",
    "user": "auth.user",
    "pass": "auth.pass",
    "username": "user",
    "password": "pass",
    "html": "content",
    "body": "content",
    "type": "usageType",
}


def report_other_keys(section: Section[Any], findings: Findings, *, are_errors: bool = False) -> None:
    """Say of each key that is not read why, and what may have been meant.

    Args:
        section: The object.
        findings: Where it goes.
        are_errors: Whether the object may have no other keys at all.
    """
    unused = UNUSED.get(type(section.shape), {})
    known = key_names(type(section.shape))
    guesses = 0
    for key in section.unknown_keys():
        if key == _SCHEMA_KEY and not section.path:
            continue
        path = child(section.path, key)
        option = unused.get(key)
        if option is not None and not are_errors:
            if not _is_off(section.unknown_value(key)):
                _report_unused(path, option, findings)
            continue
        guesses += 1
        near = _nearest(key, known) if guesses <= _MOST_SUGGESTIONS else ""
        findings.add(
            Severity.ERROR if are_errors else Severity.WARNING,
            path,
            "UNKNOWN_KEY",
            f"{path} is no key of a configuration; it has no effect.",
            f"Did you mean {near}?" if near else "Remove it.",
        )
    if isinstance(section.shape, DocumentShape) and section.shape.pool is False:
        _report_unused("pool", _NO_POOL, findings)


def _is_off(value: object) -> bool:
    return value in _OFF  # 0 and false are equal, and both are off


def _report_unused(path: str, option: UnusedOption, findings: Findings) -> None:
    verb = "is not supported" if option.is_refused else "has no effect"
    findings.add(option.severity, path, option.reason, f"{path} {verb}: {option.why}.", option.instead)


def _nearest(key: str, known: list[str]) -> str:
    synonym = _SYNONYMS.get(key)
    if synonym is not None and (synonym in known or ("." in synonym and "auth" in known)):
        return synonym
    folded = {name.lower(): name for name in known}
    near = difflib.get_close_matches(key[:_LONGEST_GUESS].lower().replace("_", ""), folded, n=1, cutoff=0.7)
    return folded[near[0]] if near else ""
