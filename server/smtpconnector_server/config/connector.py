"""From a draft to a configuration that can be used, or to everything that keeps it from being one.

Both doors end here, so both know the same rules. No rule stops at the first fault, and none trusts that another found
nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config import limits
from smtpconnector_server.config.auth import read_auth
from smtpconnector_server.config.checked import Checked
from smtpconnector_server.config.dkim import read_dkim
from smtpconnector_server.config.dsn import read_dsn
from smtpconnector_server.config.host import HostError, parse_client_hostname, parse_host, parse_ip
from smtpconnector_server.config.left_over import check_left_overs, is_left_over
from smtpconnector_server.config.model import Connector, PoolLimits, Server, Timeouts, TlsMode
from smtpconnector_server.config.origin import Origin
from smtpconnector_server.config.otp import read_otp_origin
from smtpconnector_server.config.presets import preset_at
from smtpconnector_server.config.provider import check_account, pool_limits, with_service
from smtpconnector_server.config.templates import read_templates
from smtpconnector_server.config.tls import IMPLICIT_PORT, SUBMISSION_PORT, check_port, read_options, resolve_mode
from smtpconnector_server.message.address import AddressError, Mailbox, parse_mailbox, parse_mailboxes
from smtpconnector_server.message.custom_header import HeaderError, check_header_name, check_header_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpconnector_server.config.draft import Draft, HeaderDraft, PoolDraft, Said, TimeoutsDraft
    from smtpconnector_server.config.finding import Findings
    from smtpconnector_server.config.presets import Preset

_PLACEHOLDER: Final = re.compile(r"\{\{\s*[A-Za-z0-9_.]+\s*\}\}")
_SHORT_SECONDS: Final = 1.0


def check(draft: Draft, findings: Findings) -> Checked:
    """Return the configuration, if nothing is wrong with it, and all that is to be said of it."""
    check_left_overs(draft, findings)
    server = _server(draft, findings)
    findings.require(draft.from_email, "Give the sender, such as Name <a@example.com>.")
    from_email = _mailboxes(draft.from_email, _one_mailbox, findings)
    reply_to = _mailboxes(draft.reply_to, parse_mailboxes, findings)
    templates = read_templates(draft.templates, draft.origin, findings)
    headers = _headers(draft, findings)
    dsn = read_dsn(draft.dsn, findings)
    otp_origin = read_otp_origin(draft.otp_origin, draft.headers, findings)
    dkim = read_dkim(draft.dkim, findings)
    report = findings.report()
    if findings.has_error or server is None or not from_email:
        return Checked(None, report)
    connector = Connector(
        server=server,
        from_email=from_email[0],
        reply_to=reply_to,
        templates=templates,
        custom_headers=headers,
        dsn=dsn,
        otp_origin=otp_origin,
        dkim=dkim,
    )
    return Checked(connector, report)


def _server(draft: Draft, findings: Findings) -> Server | None:
    draft = with_service(draft, findings)
    host = _host(draft, findings)
    preset = preset_at(host) if host is not None else None
    port = draft.port.value or None
    mode = resolve_mode(draft, port, findings)
    port = port or (IMPLICIT_PORT if mode is TlsMode.IMPLICIT else SUBMISSION_PORT)
    check_port(draft, port, mode, preset, findings)
    auth = read_auth(draft.auth, findings) if draft.auth is not None else None
    if mode is TlsMode.DISABLED and auth is not None:
        findings.warning(
            draft.ignore_tls.path,
            "CLEARTEXT_CREDENTIALS",
            "The credentials go over the network in the clear.",
            "Have TLS, unless the server is on this machine.",
        )
    if preset is not None:
        check_account(draft, auth, preset, findings)
    options = read_options(draft.tls, findings)
    client_hostname = _client_hostname(draft.client_hostname, findings)
    local_address = _local_address(draft.local_address, findings)
    timeouts = _timeouts(draft.timeouts, findings)
    pool = _pool(draft.pool, preset, findings)
    transcript = _transcript(draft, findings)
    if host is None:
        return None
    return Server(
        host=host,
        port=port,
        tls_mode=mode,
        tls=options,
        auth=auth,
        client_hostname=client_hostname,
        local_address=local_address,
        timeouts=timeouts,
        pool=pool,
        single_flight=_single_flight(draft.single_flight, preset),
        transcript=transcript,
    )


def _host(draft: Draft, findings: Findings) -> str | None:
    said = draft.host
    if said.value is None:
        findings.require(said, "Give the SMTP server, such as smtp.example.com.")
        return None
    if is_left_over(said.value):
        return None
    try:
        return parse_host(said.value)
    except HostError as error:
        findings.error(said.path, "INVALID_HOST", f"{said.path} {error.message}.", error.hint)
        return None


def _client_hostname(said: Said[str], findings: Findings) -> str | None:
    if said.value is None or is_left_over(said.value):
        return None
    try:
        return parse_client_hostname(said.value)
    except HostError as error:
        findings.error(said.path, "INVALID_HOST", f"{said.path} {error.message}.", error.hint)
        return None


def _local_address(said: Said[str], findings: Findings) -> str | None:
    if said.value is None or is_left_over(said.value):
        return None
    address = parse_ip(said.value)
    if address is None:
        hint = "Give an address of this machine, or leave it out."
        findings.error(said.path, "INVALID_VALUE", f"{said.path} is no IP address.", hint)
    return address


def _timeouts(draft: TimeoutsDraft, findings: Findings) -> Timeouts:
    defaults = Timeouts()
    for said in (draft.dns, draft.connection, draft.greeting, draft.socket):
        if said.value is not None and 0 < said.value < _SHORT_SECONDS:
            findings.warning(
                said.path,
                "SHORT_TIMEOUT",
                f"{said.path} is {said.value * 1000:g} milliseconds: hardly any server answers that fast.",
                "Leave it out for the default.",
            )
    return Timeouts(
        dns=draft.dns.value or defaults.dns,
        connection=draft.connection.value or defaults.connection,
        greeting=draft.greeting.value or defaults.greeting,
        socket=draft.socket.value or defaults.socket,
    )


def _pool(draft: PoolDraft, preset: Preset | None, findings: Findings) -> PoolLimits:
    defaults = pool_limits(preset)
    allowed = preset.max_connections if preset else None
    if allowed is not None and (draft.max_connections.value or 0) > allowed:
        findings.warning(
            draft.max_connections.path,
            "TOO_LARGE",
            f"{draft.max_connections.path} is more than the provider's limit of {allowed}; it will refuse connections.",
            f"Give {allowed} or less.",
        )
    if draft.rate_seconds.value and not draft.rate_limit.value:
        path = draft.rate_seconds.path
        findings.warning(path, "NO_EFFECT", f"{path} has no effect without {draft.rate_limit.path}.", "Give both.")
    return PoolLimits(
        max_connections=_at_most(limits.CONNECTIONS, draft.max_connections, findings) or defaults.max_connections,
        max_messages=_at_most(limits.MESSAGES, draft.max_messages, findings) or defaults.max_messages,
        idle_seconds=draft.idle_seconds.value or defaults.idle_seconds,
        rate_limit=_at_most(limits.RATE, draft.rate_limit, findings) or defaults.rate_limit,
        rate_seconds=draft.rate_seconds.value or defaults.rate_seconds,
    )


def _single_flight(said: Said[bool], preset: Preset | None) -> bool:
    return preset is not None and preset.single_flight if said.value is None else said.value


def _transcript(draft: Draft, findings: Findings) -> bool:
    """Tell whether the operator wants to see the dialogue. A caller may not fill his log with it."""
    asked = [said for said in (draft.logger, draft.debug) if said.value]
    if draft.origin is Origin.PROFILE:
        return bool(asked)
    for said in asked:
        findings.warning(
            said.path,
            "NO_EFFECT",
            f"{said.path} has no effect: the dialogue is logged for profiles of the server only.",
            "Remove it, or ask the server's operator.",
        )
    return False


def _at_most(limit: int, said: Said[int], findings: Findings) -> int | None:
    if said.value is None or said.value <= limit:
        return said.value
    findings.warning(said.path, "TOO_LARGE", f"{said.path} is more than {limit}; {limit} is taken.", f"Give {limit}.")
    return limit


def _one_mailbox(text: str) -> tuple[Mailbox]:
    return (parse_mailbox(text),)


def _mailboxes(said: Said[str], parse: Callable[[str], tuple[Mailbox, ...]], findings: Findings) -> tuple[Mailbox, ...]:
    if said.value is None or is_left_over(said.value):
        return ()
    if _PLACEHOLDER.search(said.value):
        findings.warning(
            said.path,
            "NO_EFFECT",
            f"Placeholders are not filled in {said.path}.",
            "Give the template a sender or Reply-To of its own; those are filled.",
        )
    try:
        return parse(said.value)
    except AddressError as error:
        findings.error(said.path, "INVALID_ADDRESS", f"{said.path} {error}.")
        return ()


def _headers(draft: Draft, findings: Findings) -> tuple[tuple[str, str], ...]:
    # Empty values write no header, as in nodemailer.
    headers = [header for header in draft.headers if header.value.value is not None]
    for header in draft.headers:
        _check_header(header, findings)
    if len(headers) > limits.HEADERS:
        path = draft.headers_path
        findings.error(path, "TOO_LARGE", f"{path} has more than {limits.HEADERS} headers.", "Remove some.")
    return tuple((header.name.value or "", header.value.value or "") for header in headers)


def _check_header(header: HeaderDraft, findings: Findings) -> None:
    for said, check_part in ((header.name, check_header_name), (header.value, check_header_value)):
        try:
            check_part(said.value or "")
        except HeaderError as error:
            findings.error(said.path, "INVALID_HEADER", f"{said.path} {error}.")
