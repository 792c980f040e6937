"""From the messages of DeliveryService to the outbox's values, and back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from google.protobuf.timestamp_pb2 import Timestamp

from smtpconnector.v1 import connector_service_pb2, delivery_pb2
from smtpconnector.v1 import delivery_service_pb2 as pb
from smtpconnector_server.failure import Violation
from smtpconnector_server.outbox.deliveries import Name, Resolution
from smtpconnector_server.rpc.mapping import invalid
from smtpconnector_server.store.record import Filter
from smtpconnector_server.store.state import State

if TYPE_CHECKING:
    from smtpconnector_server.store.record import Attempt, Change, Kept

    NamedRequest = pb.GetDeliveryRequest | pb.WatchDeliveryRequest | pb.CancelDeliveryRequest

DEFAULT_PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 500
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REQUEST_ID: Final = re.compile(r"[\x20-\x7e]{1,128}")
_PROFILE: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]{0,256}")
_FIRST_SECOND: Final = -62_135_596_800
_LAST_SECOND: Final = 253_402_300_799
"""The range of a Timestamp: from the year 1 to the year 9999."""
_NANOSECONDS: Final = 1_000_000_000
_MICROSECONDS: Final = 1_000_000
_STATES: Final = {delivery_pb2.DeliveryState.Value(f"DELIVERY_STATE_{state}"): state for state in State}
_RESOLUTIONS: Final = {pb.Resolution.Value(f"RESOLUTION_{resolution.value}"): resolution for resolution in Resolution}
_WRONG_ID: Final = Violation("id", "Give an id that the server gave: 1 to 64 letters, digits, - and _.")


def to_name(request: NamedRequest) -> Name:
    """Read which message a request is about.

    Raises:
        Failure: INVALID_REQUEST.
    """
    if bool(request.id) == bool(request.request_id):
        fault = "Give exactly one of id and request_id."
        raise invalid([Violation("id", fault), Violation("request_id", fault)])
    if request.id and not _ID.fullmatch(request.id):
        raise invalid([_WRONG_ID])
    if request.request_id and not _REQUEST_ID.fullmatch(request.request_id):
        raise invalid([Violation("request_id", "Give at most 128 characters of printable ASCII.")])
    return Name(request.id, request.request_id)


def to_filter(request: pb.ListDeliveriesRequest) -> tuple[Filter, int]:
    """Read which messages to list, and at most how many.

    Raises:
        Failure: INVALID_REQUEST with every wrong field.
    """
    violations: list[Violation] = []
    if not 0 <= request.page_size <= MAX_PAGE_SIZE:
        violations.append(
            Violation("page_size", f"Give 1 to {MAX_PAGE_SIZE}, or 0 for the default of {DEFAULT_PAGE_SIZE}.")
        )
    if any(state not in _STATES for state in request.states):
        violations.append(Violation("states", "Name states of the contract only, DELIVERY_STATE_UNSPECIFIED not."))
    if not _PROFILE.fullmatch(request.profile):
        violations.append(Violation("profile", "Give the name of a profile: at most 256 characters without controls."))
    which = Filter(
        states=tuple(sorted({_STATES[state] for state in request.states if state in _STATES})),
        profile=request.profile or None,
        created_from=_time_of(request, "created_after", violations),
        created_before=_time_of(request, "created_before", violations),
    )
    if violations:
        raise invalid(violations)
    return which, request.page_size or DEFAULT_PAGE_SIZE


def to_resolution(request: pb.ResolveDeliveryRequest) -> tuple[str, Resolution]:
    """Read which message to decide about, and how.

    Raises:
        Failure: INVALID_REQUEST with every wrong field.
    """
    violations = [] if _ID.fullmatch(request.id) else [_WRONG_ID]
    resolution = _RESOLUTIONS.get(request.resolution)
    if resolution is None:
        violations.append(Violation("resolution", "Give RESOLUTION_SEND_AGAIN or RESOLUTION_DROP."))
    if violations or resolution is None:
        raise invalid(violations)
    return request.id, resolution


def to_delivery(kept: Kept) -> pb.Delivery:
    """Return what is told of a message."""
    last = kept.last
    delivery = pb.Delivery(
        id=kept.id,
        state=_state(kept.state),
        caller=kept.caller,
        profile=kept.profile or "",
        usage_type=kept.usage_type,
        message_id=kept.message_id,
        delivery_mode=delivery_pb2.DeliveryMode.Value(f"DELIVERY_MODE_{kept.mode}"),
        uncertain_policy=delivery_pb2.UncertainPolicy.Value(f"UNCERTAIN_POLICY_{kept.policy}"),
        create_time=_timestamp(kept.created_at),
        update_time=_timestamp(kept.updated_at),
        expire_time=_timestamp(kept.expires_at),
        next_attempt_time=_timestamp(kept.due_at) if kept.state is State.QUEUED else None,
        attempts=kept.attempt,
        reply=_reply(last),
        host=last.host,
        held=kept.is_held,
    )
    if last.reason:
        delivery.failure.CopyFrom(pb.DeliveryFailure(reason=last.reason, stage=last.stage, text=last.text))
    return delivery


def to_change(change: Change, kept: Kept) -> pb.WatchDeliveryResponse:
    """Return what is told of a change."""
    return pb.WatchDeliveryResponse(
        cursor=change.cursor,
        state=_state(change.state),
        time=_timestamp(change.at),
        reason=change.reason,
        delivery=to_delivery(kept),
    )


def _state(state: State) -> delivery_pb2.DeliveryState.ValueType:
    return delivery_pb2.DeliveryState.Value(f"DELIVERY_STATE_{state}")


def _reply(last: Attempt) -> connector_service_pb2.SmtpReply | None:
    if not last.reply_code:
        return None
    return connector_service_pb2.SmtpReply(
        code=last.reply_code, enhanced_code=last.reply_enhanced_code, text=last.reply_text
    )


def _timestamp(at: float) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromMicroseconds(round(at * _MICROSECONDS))
    return timestamp


def _time_of(request: pb.ListDeliveriesRequest, field: str, violations: list[Violation]) -> float | None:
    if not request.HasField(field):  # type: ignore[arg-type]  # one of its two timestamps
        return None
    timestamp: Timestamp = getattr(request, field)
    if not (_FIRST_SECOND <= timestamp.seconds <= _LAST_SECOND and 0 <= timestamp.nanos < _NANOSECONDS):
        violations.append(Violation(field, "Give a time between the years 1 and 9999, its nanos from 0 to 999999999."))
        return None
    return timestamp.seconds + timestamp.nanos / _NANOSECONDS
