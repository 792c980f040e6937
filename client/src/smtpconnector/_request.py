"""From the arguments of a call to its request; both clients build requests here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpconnector._struct import struct_from, text_from
from smtpconnector.config import config_message, template_message
from smtpconnector.v1 import connector_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpconnector._delivery_request import DeliveryWish
    from smtpconnector._struct import JSON
    from smtpconnector.config import Config, Template
    from smtpconnector.results import Depth


def send_message_request(
    to: str,
    usage_type: str,
    payload: Mapping[str, JSON] | None,
    *,
    config: Config | None,
    template: Template | None,
    client_ip: str,
    validate_only: bool,
    wish: DeliveryWish,
) -> pb.SendMessageRequest:
    """Build a SendMessageRequest.

    Raises:
        InvalidRequest: A value cannot be carried.
    """
    request = pb.SendMessageRequest(
        to=text_from(to, "to"),
        type=text_from(usage_type, "type"),
        payload=None if payload is None else struct_from(payload, "payload"),
        config=None if config is None else config_message(config),
        template=None if template is None else template_message(template),
        client_ip=text_from(client_ip, "client_ip"),
        validate_only=validate_only,
    )
    wish.put_into(request)
    return request


def is_repeatable(request: pb.SendMessageRequest) -> bool:
    """Tell whether the very same request cannot send the mail twice."""
    return bool(request.request_id) and not request.validate_only


def validate_config_request(config: Config | None, depth: Depth, to: str) -> pb.ValidateConfigRequest:
    """Build a ValidateConfigRequest.

    Raises:
        InvalidRequest: A value cannot be carried.
    """
    return pb.ValidateConfigRequest(
        config=None if config is None else config_message(config),
        depth=depth.value,
        to=text_from(to, "to"),
    )
