"""From the fields of a SendMessageRequest that ask for durable delivery to an order of the outbox, and back."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector.v1 import delivery_pb2
from smtpconnector_server.failure import Failure, Reason, Stage, Violation
from smtpconnector_server.outbox.answer import expired
from smtpconnector_server.outbox.order import Order
from smtpconnector_server.rpc.configurations import DEFAULT_PROFILE
from smtpconnector_server.rpc.mapping import to_reply
from smtpconnector_server.store.state import Mode, UncertainPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpconnector_server.outbox.answer import Receipt

MAX_EXPIRE_SECONDS: Final = 7 * 24 * 3600
"""How far ahead an expire_time may be."""
_CLOCKS_DIFFER_SECONDS: Final = 3600
"""By which a caller's clock may be ahead of ours before the maximum is held against him."""
_FIRST_SECOND: Final = -62_135_596_800
"""Of the year 1, with which a Timestamp begins."""
_NANOS: Final = 1_000_000_000
_KEY: Final = re.compile(r"[\x20-\x7e]{0,128}")
_MODES: Final = {
    delivery_pb2.DELIVERY_MODE_UNSPECIFIED: Mode.WAIT,
    delivery_pb2.DELIVERY_MODE_WAIT: Mode.WAIT,
    delivery_pb2.DELIVERY_MODE_ENQUEUE: Mode.ENQUEUE,
}
_POLICIES: Final = {
    delivery_pb2.UNCERTAIN_POLICY_UNSPECIFIED: UncertainPolicy.HOLD,
    delivery_pb2.UNCERTAIN_POLICY_HOLD: UncertainPolicy.HOLD,
    delivery_pb2.UNCERTAIN_POLICY_RESEND: UncertainPolicy.RESEND,
}
_PLAIN: Final = Order()


def to_order(request: pb.SendMessageRequest, violations: list[Violation]) -> Order:
    """Read how a mail is to be delivered; what is wrong is added to the violations."""
    has_expiry = request.HasField("expire_time")
    if not (
        request.request_id or request.delivery_mode or has_expiry or request.supersede_key or request.uncertain_policy
    ):
        return _PLAIN
    violations.extend(
        Violation(field, "Give at most 128 characters of printable ASCII, such as a UUID.")
        for field in ("request_id", "supersede_key")
        if not _KEY.fullmatch(getattr(request, field))
    )
    mode = _MODES.get(request.delivery_mode)
    if mode is None:
        violations.append(Violation("delivery_mode", "Name one of the modes of the contract."))
    policy = _POLICIES.get(request.uncertain_policy)
    if policy is None:
        violations.append(Violation("uncertain_policy", "Name one of the policies of the contract."))
    return Order(
        request_id=request.request_id,
        mode=mode or Mode.WAIT,
        expires_at=_expires_at(request, violations) if has_expiry else None,
        supersede_key=request.supersede_key,
        policy=policy or UncertainPolicy.HOLD,
    )


def needs_store(order: Order) -> Failure:
    """Return the failure of an order that only a server with a store can keep."""
    fields = {
        "request_id": order.request_id,
        "supersede_key": order.supersede_key,
        "delivery_mode": order.mode is Mode.ENQUEUE,
        "uncertain_policy": order.policy is UncertainPolicy.RESEND,
    }
    names = [field for field, is_set in fields.items() if is_set]
    text = "Leave it out: this server has no store that could guarantee it. The operator gives it one with --store."
    return Failure(
        Reason.NOT_IMPLEMENTED,
        f"{names[0]}: {text}",
        stage=Stage.REQUEST,
        violations=tuple(Violation(field, text) for field in names),
    )


@contextmanager
def expiring(order: Order, within: float) -> Iterator[float]:
    """Bound the time for a mail by the end of its usefulness, and say so where that is what ended it.

    Yields:
        The seconds that are left for it.

    Raises:
        Failure: DELIVERY_EXPIRED.
    """
    if order.expires_at is None:
        yield within
        return
    left = min(within, order.expires_at - time.time())
    if left <= 0:
        raise expired()
    try:
        yield left
    except Failure as failure:
        if failure.reason is Reason.DEADLINE_EXCEEDED and time.time() >= order.expires_at:
            raise expired() from None
        raise


def content(request: pb.SendMessageRequest) -> bytes:
    """Return all of a request that another one with the same request_id must have in common with it.

    The end of its usefulness and the end user's address are not among it: a repeat may well come from a program that
    reckons them anew. Those of the first request are valid. Nor is whether a default was said or left out.
    """
    same = pb.SendMessageRequest()
    same.CopyFrom(request)
    for field in ("request_id", "expire_time", "client_ip"):
        same.ClearField(field)
    if _MODES.get(same.delivery_mode) is _PLAIN.mode:
        same.ClearField("delivery_mode")
    if _POLICIES.get(same.uncertain_policy) is _PLAIN.policy:
        same.ClearField("uncertain_policy")
    if same.config.WhichOneof("source") in {None, "profile"} and same.config.profile in {"", DEFAULT_PROFILE}:
        same.ClearField("config")
    return same.SerializeToString(deterministic=True)


def to_receipt_response(receipt: Receipt) -> pb.SendMessageResponse:
    """Return the answer to a message that the store keeps."""
    return pb.SendMessageResponse(
        message_id=receipt.message_id,
        usage_type=receipt.usage_type,
        host=receipt.host,
        attempts=receipt.connections,
        delivery_id=receipt.id,
        state=delivery_pb2.DeliveryState.Value(f"DELIVERY_STATE_{receipt.state}"),
        reply=to_reply(receipt.reply) if receipt.reply is not None else None,
    )


def _expires_at(request: pb.SendMessageRequest, violations: list[Violation]) -> float:
    seconds, nanos = request.expire_time.seconds, request.expire_time.nanos
    if seconds < _FIRST_SECOND or not 0 <= nanos < _NANOS:
        violations.append(Violation("expire_time", "Give a valid google.protobuf.Timestamp."))
    expires_at = seconds + nanos / _NANOS
    if expires_at > time.time() + MAX_EXPIRE_SECONDS + _CLOCKS_DIFFER_SECONDS:
        violations.append(Violation("expire_time", "Give a time at most 7 days ahead."))
    return expires_at
