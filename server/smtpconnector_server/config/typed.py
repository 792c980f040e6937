"""The second door: ``SmtpConfig`` of the contract, as plain Python values.

Fields go by the contract's names; durations are seconds, enum values lower-case names without their prefix
(``starttls_required``, ``text_plain``). An absent field and one with proto3's zero value are the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config import connector, templates
from smtpconnector_server.config.checked import Checked
from smtpconnector_server.config.draft import (
    DkimDraft,
    Draft,
    DsnDraft,
    Grant,
    HeaderDraft,
    LoginDraft,
    OAuth2Draft,
    PoolDraft,
    Said,
    TemplateDraft,
    TimeoutsDraft,
    TlsDraft,
)
from smtpconnector_server.config.finding import Findings
from smtpconnector_server.config.intake import UnfitError, admit
from smtpconnector_server.config.options import report_other_keys
from smtpconnector_server.config.origin import Origin
from smtpconnector_server.config.path import child
from smtpconnector_server.config.shape import (
    TypedHeaderShape,
    TypedLoginShape,
    TypedShape,
    TypedTemplateShape,
    TypedTlsShape,
    key_names,
)
from smtpconnector_server.config.structure import Section

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpconnector_server.config.draft import AuthDraft
    from smtpconnector_server.config.finding import Finding
    from smtpconnector_server.config.shape import Shape
    from smtpconnector_server.message.template import Template

_NODE_VERSIONS: Final = {"1_2": "TLSv1.2", "1_3": "TLSv1.3"}
_CONTENT_TYPES: Final = {"text_plain": "text/plain", "text_html": "text/html"}
_GRANTS: Final = {
    "oauth2_token": Grant.ACCESS_TOKEN,
    "oauth2_refresh_token": Grant.REFRESH_TOKEN,
    "oauth2_service_account": Grant.SERVICE_ACCOUNT,
    "oauth2_client_credentials": Grant.CLIENT_CREDENTIALS,
}
"""By the member of the contract's ``auth`` that holds what it needs."""


def read_typed(value: Mapping[str, object]) -> Checked:
    """Read an ``SmtpConfig``."""
    findings = Findings(key_names(TypedShape))
    try:
        section = Section.read(TypedShape, admit(value), "", findings, set())
    except UnfitError as error:
        findings.error(error.path, error.reason, error.message)
        return Checked(None, findings.report())
    return connector.check(_draft(section, findings), findings)


def read_template(value: Mapping[str, object]) -> tuple[Template | None, tuple[Finding, ...]]:
    """Read a ``Template`` that a caller sends along with a message.

    Returns:
        The template, or None if it cannot be used; and everything that is to be said of it.
    """
    findings = Findings(key_names(TypedTemplateShape))
    try:
        section = Section.read(TypedTemplateShape, admit(value), "", findings, set())
    except UnfitError as error:
        findings.error(error.path, error.reason, error.message)
        return None, findings.report()
    template = templates.read_template(_template(section, findings), Origin.CALLER, findings)
    return None if findings.has_error else template, findings.report()


def _draft(config: Section[TypedShape], findings: Findings) -> Draft:
    report_other_keys(config, findings)
    mode = config.said("tls_mode")
    return Draft(
        origin=Origin.CALLER,
        service=Said(""),
        host=config.said("host"),
        port=config.said("port"),
        secure=_switch(mode, None if mode.value is None else mode.value == "implicit"),
        require_tls=_switch(mode, mode.value == "starttls_required"),
        ignore_tls=_switch(mode, mode.value == "disabled"),
        tls=_tls(config, findings),
        auth_path=config.key_path("login"),
        auth=_auth(config, findings),
        from_email=config.said("from_email"),
        reply_to=config.said("reply_to"),
        templates=_templates(config, findings),
        headers_path=config.key_path("custom_headers"),
        headers=_headers(config, findings),
        client_hostname=config.said("client_hostname"),
        local_address=config.said("local_address"),
        timeouts=TimeoutsDraft(
            dns=config.said("dns_timeout"),
            connection=config.said("connection_timeout"),
            greeting=config.said("greeting_timeout"),
            socket=config.said("socket_timeout"),
        ),
        pool=PoolDraft(
            max_connections=Said(""),
            max_messages=Said(""),
            idle_seconds=Said(""),
            rate_limit=Said(""),
            rate_seconds=Said(""),
        ),
        single_flight=Said(""),
        logger=Said(""),
        debug=Said(""),
        dsn=DsnDraft(envelope_id=Said(""), returned=Said(""), notify=Said(""), original_recipient=Said("")),
        otp_origin=Said(""),
        dkim=DkimDraft(path="", keys=(), hash_algorithm=Said(""), header_names=Said(""), skipped_names=Said("")),
    )


def _switch(mode: Said[str], value: bool | None) -> Said[bool]:  # noqa: FBT001 - the value of the switch
    return Said(mode.path, value, is_spoilt=mode.is_spoilt)


def _tls(config: Section[TypedShape], findings: Findings) -> TlsDraft:
    tls = config.item(config.shape.tls or TypedTlsShape(), config.key_path("tls"))
    report_other_keys(tls, findings)
    skip = tls.said("insecure_skip_verify")
    return TlsDraft(
        server_name=tls.said("server_name"),
        verify=Said(skip.path, None if skip.value is None else not skip.value, is_spoilt=skip.is_spoilt),
        ca_pem=tls.said("ca_pem"),
        cert_pem=tls.said("client_cert_pem"),
        key_pem=tls.said("client_key_pem"),
        key_passphrase=tls.said("client_key_passphrase"),
        min_version=_named(tls.said("min_version"), _NODE_VERSIONS),
        max_version=Said(""),
        ciphers=Said(""),
    )


def _auth(config: Section[TypedShape], findings: Findings) -> AuthDraft:
    shape = config.shape
    if shape.login is not None:
        login: Section[TypedLoginShape] = config.item(shape.login, config.key_path("login"))
        report_other_keys(login, findings)
        return LoginDraft(user=login.said("user"), password=login.said("password"), method=Said(""), may_be_empty=False)
    for attribute, grant in _GRANTS.items():
        if getattr(shape, attribute) is not None:
            identity: Section[Shape] = config.item(getattr(shape, attribute), config.key_path(attribute))
            report_other_keys(identity, findings)
            return _oauth2(grant, identity)
    return LoginDraft(user=Said(""), password=Said(""), method=Said(""))


def _oauth2(grant: Grant, identity: Section[Shape]) -> OAuth2Draft:
    said = {attribute: identity.said(attribute) for attribute in type(identity.shape).model_fields}
    if "private_key_pem" in said:
        said["private_key"] = said.pop("private_key_pem")
    names = OAuth2Draft.__dataclass_fields__.keys() - {"grant"}
    return OAuth2Draft(grant=grant, **{name: said.get(name, Said("")) for name in names})


def _templates(config: Section[TypedShape], findings: Findings) -> Said[tuple[TemplateDraft, ...]]:
    said = config.said("templates")
    if said.value is None:
        return said
    sections = [config.item(shape, child(said.path, index)) for index, shape in enumerate(said.value)]
    drafts = (_template(section, findings) for section in sections if not section.is_spoilt(section.path))
    return replace(said, value=tuple(drafts))


def _template(template: Section[TypedTemplateShape], findings: Findings) -> TemplateDraft:
    report_other_keys(template, findings)
    content_type = _named(template.said("content_type"), _CONTENT_TYPES)
    if content_type.value is None and not content_type.is_spoilt:
        content_type = replace(content_type, value="text/html")
    return TemplateDraft(
        path=template.path,
        usage_type=template.said("usage_type"),
        content_type=content_type,
        subject=template.said("subject"),
        content=template.said("content"),
        text_content=template.said("text_content"),
        reply_to=template.said("reply_to"),
        send_from=template.said("send_from"),
        language_tag=template.said("language_tag"),
        escape=Said(""),
    )


def _headers(config: Section[TypedShape], findings: Findings) -> tuple[HeaderDraft, ...]:
    path = config.key_path("custom_headers")
    headers = []
    for index, shape in enumerate(config.shape.custom_headers or ()):
        header: Section[TypedHeaderShape] = config.item(shape, child(path, index))
        report_other_keys(header, findings)
        if not header.is_spoilt(header.path):
            headers.append(HeaderDraft(name=header.said("name"), value=header.said("value")))
    return tuple(headers)


def _named(said: Said[str], names: dict[str, str]) -> Said[str]:
    return said if said.value is None else replace(said, value=names[said.value])
