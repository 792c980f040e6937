"""The connector's metadata as GetMetadata answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from smtpconnector.v1 import config_pb2, metadata_pb2
from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector_server import __version__
from smtpconnector_server.config.example import example_document
from smtpconnector_server.config.form import FormItemType, form_items
from smtpconnector_server.config.metadata import connector_metadata
from smtpconnector_server.config.model import TlsMode
from smtpconnector_server.config.presets import AuthKind, presets
from smtpconnector_server.config.schema import config_schema
from smtpconnector_server.rpc.plain import to_duration, to_struct

if TYPE_CHECKING:
    from smtpconnector_server.config.form import FormItem
    from smtpconnector_server.config.intake import Json
    from smtpconnector_server.config.presets import Preset

_FORM_ITEM_TYPES: Final = {
    FormItemType.TEXT: metadata_pb2.FORM_ITEM_TYPE_TEXT,
    FormItemType.NUMBER: metadata_pb2.FORM_ITEM_TYPE_NUMBER,
    FormItemType.MULTILINE_TEXT: metadata_pb2.FORM_ITEM_TYPE_MULTILINE_TEXT,
    FormItemType.SWITCH: metadata_pb2.FORM_ITEM_TYPE_SWITCH,
    FormItemType.SELECT: metadata_pb2.FORM_ITEM_TYPE_SELECT,
    FormItemType.MULTI_SELECT: metadata_pb2.FORM_ITEM_TYPE_MULTI_SELECT,
    FormItemType.JSON: metadata_pb2.FORM_ITEM_TYPE_JSON,
}
_TLS_MODES: Final = {
    TlsMode.IMPLICIT: config_pb2.TLS_MODE_IMPLICIT,
    TlsMode.STARTTLS_REQUIRED: config_pb2.TLS_MODE_STARTTLS_REQUIRED,
    TlsMode.STARTTLS_OFFERED: config_pb2.TLS_MODE_UNSPECIFIED,
    TlsMode.DISABLED: config_pb2.TLS_MODE_DISABLED,
}
_AUTH_KINDS: Final = {
    AuthKind.NONE: metadata_pb2.AUTH_KIND_NONE,
    AuthKind.LOGIN: metadata_pb2.AUTH_KIND_LOGIN,
    AuthKind.OAUTH2: metadata_pb2.AUTH_KIND_OAUTH2,
}


def to_metadata_response() -> pb.GetMetadataResponse:
    """Return the answer, which is the same for every call."""
    connector = connector_metadata()
    return pb.GetMetadataResponse(
        id=connector.id,
        target=connector.target,
        platform=connector.platform or "",
        name=connector.name,
        description=connector.description,
        readme=connector.readme,
        logo=connector.logo,
        logo_dark=connector.logo_dark,
        form_items=map(_form_item, form_items()),
        config_schema=to_struct(config_schema()),
        config_template=to_struct(example_document()),
        presets=map(_preset, presets()),
        server_version=__version__,
    )


def _form_item(item: FormItem) -> metadata_pb2.FormItem:
    return metadata_pb2.FormItem(
        key=item.key,
        label=item.label,
        localized_labels=item.localized_labels,
        type=_FORM_ITEM_TYPES[item.type],
        required=item.required,
        placeholder=item.placeholder,
        default_value=None if item.default_value is None else _value(item.default_value),
        description=item.description,
        localized_descriptions=item.localized_descriptions,
        show_conditions=[
            metadata_pb2.ShowCondition(target_key=condition.target_key, expect_value=_value(condition.expect_value))
            for condition in item.show_conditions
        ],
        is_confidential=item.is_confidential,
        select_items=[metadata_pb2.SelectItem(value=choice.value, title=choice.title) for choice in item.select_items],
    )


def _preset(preset: Preset) -> metadata_pb2.ProviderPreset:
    return metadata_pb2.ProviderPreset(
        id=preset.id,
        display_name=preset.display_name,
        aliases=preset.aliases,
        host=preset.host,
        regions=preset.regions,
        port=preset.port,
        other_ports=preset.other_ports,
        tls_mode=_TLS_MODES[preset.tls_mode],
        auth_kinds=[_AUTH_KINDS[kind] for kind in preset.auth_kinds],
        max_connections=preset.max_connections or 0,
        max_messages_per_connection=preset.max_messages or 0,
        max_idle=None if preset.idle_seconds is None else to_duration(preset.idle_seconds),
        notes=preset.notes,
        source_url=preset.source_url,
    )


def _value(value: Json) -> Value:
    return ParseDict(value, Value())
