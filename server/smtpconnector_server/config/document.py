"""The first door: the JSON document of Logto's SMTP connector.

What nodemailer and Logto accept means the same here, or a finding says why not. ``null`` and empty text mean that a
value is absent.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from smtpconnector_server.config import connector
from smtpconnector_server.config.auth_union import read_auth_union, read_private_key
from smtpconnector_server.config.checked import Checked
from smtpconnector_server.config.draft import (
    DkimDraft,
    DkimKeyDraft,
    Draft,
    DsnDraft,
    HeaderDraft,
    LoginDraft,
    PoolDraft,
    Said,
    TemplateDraft,
    TimeoutsDraft,
    TlsDraft,
)
from smtpconnector_server.config.finding import Findings
from smtpconnector_server.config.intake import UnfitError, admit
from smtpconnector_server.config.options import report_other_keys
from smtpconnector_server.config.path import child
from smtpconnector_server.config.shape import (
    ClientKeyShape,
    DkimKeyShape,
    DkimShape,
    DocumentShape,
    DsnShape,
    OtpShape,
    TemplateShape,
    TlsShape,
    key_names,
)
from smtpconnector_server.config.structure import Section

if TYPE_CHECKING:
    from smtpconnector_server.config.draft import AuthDraft
    from smtpconnector_server.config.origin import Origin

_MILLISECONDS: Final = 1000


def read_document(value: object, *, origin: Origin) -> Checked:
    """Read a document.

    Args:
        value: The document: a mapping of plain JSON values.
        origin: Who wrote it.
    """
    return check_document(value, origin, findings_in_order(), set())


def findings_in_order() -> Findings:
    """Return an empty collection that reports in the order of the document's keys."""
    return Findings(key_names(DocumentShape))


def check_document(value: object, origin: Origin, findings: Findings, spoilt: set[str]) -> Checked:
    """Read a document of which something has been said before.

    Args:
        value: The document.
        origin: Who wrote it.
        findings: What was found before, such as missing variables of a profile.
        spoilt: The paths of the values that this was about.
    """
    try:
        document = admit(value)
    except UnfitError as error:
        findings.error(error.path, error.reason, error.message)
        return Checked(None, findings.report())
    section = Section.read(DocumentShape, document, "", findings, spoilt)
    return connector.check(_draft(section, origin, findings), findings)


def _draft(document: Section[DocumentShape], origin: Origin, findings: Findings) -> Draft:
    report_other_keys(document, findings)
    return Draft(
        origin=origin,
        service=document.said("service"),
        host=document.said("host"),
        port=_port(document),
        secure=document.said("secure"),
        require_tls=document.said("require_tls"),
        ignore_tls=document.said("ignore_tls"),
        tls=_tls(document, findings),
        auth_path=document.key_path("auth"),
        auth=_auth(document, findings),
        from_email=document.said("from_email"),
        reply_to=document.said("reply_to"),
        templates=_templates(document, findings),
        headers_path=document.key_path("custom_headers"),
        headers=_headers(document),
        client_hostname=document.said("name"),
        local_address=document.said("local_address"),
        timeouts=TimeoutsDraft(
            dns=_seconds(document.said("dns_timeout")),
            connection=_seconds(document.said("connection_timeout")),
            greeting=_seconds(document.said("greeting_timeout")),
            socket=_seconds(document.said("socket_timeout")),
        ),
        pool=PoolDraft(
            max_connections=document.said("max_connections"),
            max_messages=document.said("max_messages"),
            idle_seconds=_seconds(document.said("idle_timeout")),
            rate_limit=document.said("rate_limit"),
            rate_seconds=_seconds(document.said("rate_delta")),
        ),
        single_flight=document.said("single_flight"),
        logger=document.said("logger"),
        debug=document.said("debug"),
        dsn=_dsn(document, findings),
        otp_origin=_otp_origin(document, findings),
        dkim=_dkim(document, findings),
    )


def _port(document: Section[DocumentShape]) -> Said[int]:
    said = document.said("port")
    if isinstance(said.value, str):
        return replace(said, value=int(said.value) if said.value.strip() else None)
    return said


def _seconds(said: Said[float]) -> Said[float]:
    return said if said.value is None else replace(said, value=said.value / _MILLISECONDS)


def _auth(document: Section[DocumentShape], findings: Findings) -> AuthDraft | None:
    method = document.said("auth_method")
    old_user, old_password = document.said("username"), document.said("password")
    auth = document.shape.auth
    if auth is not None:
        for said in (old_user, old_password):
            if said.value is not None:
                findings.warning(
                    said.path, "NO_EFFECT", f"{said.path} has no effect beside auth.", f"Remove {said.path}."
                )
        return read_auth_union(document, method, findings)
    if old_user.is_given or old_password.is_given:
        findings.warning(
            old_user.path,
            "OLD_FORM",
            "username and password on the top level are the form of older documents.",
            'Write "auth": {"user": …, "pass": …} instead.',
        )
        return LoginDraft(user=old_user, password=old_password, method=method)
    if not document.is_spoilt(document.key_path("auth")):
        findings.error(
            document.key_path("auth"),
            "MISSING_FIELD",
            "auth is missing.",
            'Give "auth": {"user": …, "pass": …}, or "auth": {} for a server that asks for no login.',
        )
    return None


def _tls(document: Section[DocumentShape], findings: Findings) -> TlsDraft:
    server_name = document.said("servername")
    path = document.key_path("tls")
    tls = document.item(document.shape.tls or TlsShape.model_validate({}), path)
    report_other_keys(tls, findings)
    inner_server_name = tls.said("servername")
    key, passphrase = tls.said("key"), tls.said("passphrase")
    if isinstance(key.value, ClientKeyShape):
        inner = tls.item(key.value, key.path)
        report_other_keys(inner, findings)
        key = inner.said("pem")
        if not key.is_given:
            findings.require(key)
            key = replace(key, is_spoilt=True)
        passphrase = inner.said("passphrase") if inner.shape.passphrase else passphrase
    return TlsDraft(
        server_name=inner_server_name if inner_server_name.is_given else server_name,
        verify=tls.said("reject_unauthorized"),
        ca_pem=_joined(tls.said("ca")),
        cert_pem=_joined(tls.said("cert")),
        key_pem=key,
        key_passphrase=passphrase,
        min_version=tls.said("min_version"),
        max_version=tls.said("max_version"),
        ciphers=tls.said("ciphers"),
    )


def _dsn(document: Section[DocumentShape], findings: Findings) -> DsnDraft:
    dsn = document.item(document.shape.dsn or DsnShape.model_validate({}), document.key_path("dsn"))
    report_other_keys(dsn, findings)

    def either(first: str, second: str) -> Said[Any]:
        said = dsn.said(first)
        return said if said.is_given else dsn.said(second)

    return DsnDraft(
        envelope_id=either("envid", "id"),
        returned=either("ret", "return_"),
        notify=dsn.said("notify"),
        original_recipient=either("recipient", "orcpt"),
    )


def _otp_origin(document: Section[DocumentShape], findings: Findings) -> Said[str]:
    otp = document.item(document.shape.otp or OtpShape(), document.key_path("otp"))
    report_other_keys(otp, findings)
    return otp.said("origin")


def _dkim(document: Section[DocumentShape], findings: Findings) -> DkimDraft:
    path = document.key_path("dkim")
    dkim = document.item(document.shape.dkim or DkimShape.model_validate({}), path)
    report_other_keys(dkim, findings)
    outer = _dkim_key(dkim, findings)
    is_outer_given = outer.domain.is_given or outer.selector.is_given or outer.private_key.is_given
    keys, place = dkim.shape.keys or [], dkim.key_path("keys")
    sections = (
        [dkim.item(key, child(place, index)) for index, key in enumerate(keys)]
        if isinstance(keys, list)
        else [dkim.item(keys, place)]
    )
    if sections and is_outer_given:
        findings.warning(path, "NO_EFFECT", f"A key in {path} has no effect beside {place}.", f"Move it to {place}.")
    for section in sections:
        report_other_keys(section, findings)
    inner = [_dkim_key(section, findings) for section in sections if not section.is_spoilt(section.path)]
    return DkimDraft(
        path=path,
        keys=tuple(inner) if sections else (outer,) if is_outer_given else (),
        hash_algorithm=dkim.said("hash_algo"),
        header_names=dkim.said("header_field_names"),
        skipped_names=dkim.said("skip_fields"),
    )


def _dkim_key(section: Section[DkimKeyShape] | Section[DkimShape], findings: Findings) -> DkimKeyDraft:
    key, passphrase = read_private_key(section, findings)
    return DkimKeyDraft(
        domain=section.said("domain_name"),
        selector=section.said("key_selector"),
        private_key=key,
        private_key_passphrase=passphrase,
    )


def _joined(said: Said[Any]) -> Said[str]:
    """Join a list of PEM texts; an empty one means nothing, as for Node.js."""
    if isinstance(said.value, list):
        return replace(said, value="\n".join(filter(None, said.value)) or None)
    return said


def _templates(document: Section[DocumentShape], findings: Findings) -> Said[tuple[TemplateDraft, ...]]:
    said = document.said("templates")
    if said.value is None:
        return said
    sections = [document.item(template, child(said.path, index)) for index, template in enumerate(said.value)]
    drafts = (_template(section, findings) for section in sections if not section.is_spoilt(section.path))
    return replace(said, value=tuple(drafts))


def _template(template: Section[TemplateShape], findings: Findings) -> TemplateDraft:
    report_other_keys(template, findings)
    text = template.said("text_content")
    return TemplateDraft(
        path=template.path,
        usage_type=template.said("usage_type"),
        content_type=template.said("content_type"),
        subject=_as_written(template, "subject"),
        content=_as_written(template, "content"),
        text_content=text if text.is_given else template.said("text"),
        reply_to=template.said("reply_to"),
        send_from=template.said("send_from"),
        language_tag=template.said("language_tag"),
        escape=template.said("escape"),
    )


def _as_written(template: Section[TemplateShape], attribute: str) -> Said[str]:
    """Return what was said, where empty text is a text."""
    said = template.said(attribute)
    return replace(said, value=getattr(template.shape, attribute))


def _headers(document: Section[DocumentShape]) -> tuple[HeaderDraft, ...]:
    headers = []
    base = document.key_path("custom_headers")
    for name, values in (document.shape.custom_headers or {}).items():
        path = child(base, name)
        items = (
            [(path, values)]
            if not isinstance(values, list)
            else [(child(path, index), value) for index, value in enumerate(values)]
        )
        headers += [
            HeaderDraft(name=Said(path, name), value=Said(place, value or None, is_spoilt=document.is_spoilt(place)))
            for place, value in items
        ]
    return tuple(headers)
