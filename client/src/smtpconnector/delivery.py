"""Messages that the service keeps in its store: how they are to be delivered, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timezone
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from smtpconnector.reply import Reply, reply_from
from smtpconnector.v1 import delivery_pb2, delivery_service_pb2

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

_Enum = TypeVar("_Enum", bound=Enum)


class DeliveryMode(str, Enum):
    """What an answer of ``send_message`` waits for."""

    WAIT = "WAIT"
    """The SMTP server has accepted the mail, or it is known that it has not."""
    ENQUEUE = "ENQUEUE"
    """The service has accepted it durably; it sends it, and tries again until it expires."""
    UNRECOGNIZED = "UNRECOGNIZED"
    """The service is newer than this client."""

    __str__ = str.__str__


class UncertainPolicy(str, Enum):
    """What becomes of a mail that may or may not have arrived."""

    HOLD = "HOLD"
    """It is never sent again by itself; an operator may decide."""
    RESEND = "RESEND"
    """It is sent once more, the same octets: it arrives, and may arrive twice."""
    UNRECOGNIZED = "UNRECOGNIZED"
    """The service is newer than this client."""

    __str__ = str.__str__


class DeliveryState(str, Enum):
    """How far a mail has come."""

    QUEUED = "QUEUED"
    """It waits for its turn, or for its next attempt."""
    SENDING = "SENDING"
    """The service is sending it."""
    SENT = "SENT"
    """The SMTP server accepted it."""
    REJECTED = "REJECTED"
    """The SMTP server refused it for good."""
    NOT_SENT = "NOT_SENT"
    """The call that waited for it ended without it being sent; the same call with the same ``request_id`` sends it."""
    UNKNOWN = "UNKNOWN"
    """It may or may not arrive."""
    EXPIRED = "EXPIRED"
    """It was not sent in time, and never will be."""
    CANCELLED = "CANCELLED"
    """It was cancelled before it was sent."""
    SUPERSEDED = "SUPERSEDED"
    """A newer one with the same ``supersede_key`` took its place before it was sent."""
    UNRECOGNIZED = "UNRECOGNIZED"
    """The service is newer than this client."""

    __str__ = str.__str__

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self not in {DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.UNRECOGNIZED}


class Resolution(str, Enum):
    """An operator's decision about a held mail."""

    SEND_AGAIN = "SEND_AGAIN"
    """Back into the queue: it may arrive twice."""
    DROP = "DROP"
    """It stays UNKNOWN for good, and its content is destroyed."""

    __str__ = str.__str__


@dataclass(frozen=True)
class DeliveryFailure:
    """Why an attempt did not succeed."""

    reason: str
    """A name of ``ErrorReason`` without its prefix."""
    stage: str
    """How far the attempt came, such as ``CONNECT`` or ``RCPT``."""
    text: str
    """One English sentence: what happened and what to do."""


@dataclass(frozen=True)
class Delivery:
    """What the store tells of a mail; never its recipient, payload or text. Times are in UTC."""

    id: str
    """Its name in the store."""
    state: DeliveryState
    caller: str
    """Who sent it; ``anybody`` where the service asks nobody who he is."""
    profile: str
    """The profile that it is sent with. Empty: the configuration came with the request."""
    usage_type: str
    message_id: str
    """The Message-ID header, the same over all attempts."""
    delivery_mode: DeliveryMode
    uncertain_policy: UncertainPolicy
    create_time: datetime
    update_time: datetime
    """When its state changed last."""
    expire_time: datetime
    """After which it is not sent any more."""
    next_attempt_time: datetime | None
    """Not before when it is tried next. None but for QUEUED."""
    attempts: int
    """How many times it was taken up for sending."""
    reply: Reply | None
    """The SMTP server's reply of the newest attempt. None: there was none."""
    host: str
    """The SMTP server of the newest attempt. Empty before the first."""
    failure: DeliveryFailure | None
    """Why the newest attempt did not end in SENT. None: none has failed."""
    held: bool
    """Whether ``resolve_delivery`` may still send it again."""


@dataclass(frozen=True)
class DeliveryChange:
    """One change of a mail's state."""

    cursor: int
    """Its place among those of the mail, from 1: a later watch begins after it."""
    state: DeliveryState
    """The state that began with it."""
    time: datetime
    """When."""
    reason: str
    """A name of ``ErrorReason`` without its prefix. Empty where the change is no failure."""
    delivery: Delivery
    """The mail now, which may be later than this change."""


def _by_number(kind: type[_Enum], contract: Any, prefix: str) -> dict[int, _Enum]:  # noqa: ANN401 - an enum of protobuf
    members = kind.__members__
    return {
        number: members[name.removeprefix(prefix)]
        for name, number in contract.items()
        if name.removeprefix(prefix) in members
    }


_STATES = _by_number(DeliveryState, delivery_pb2.DeliveryState, "DELIVERY_STATE_")
_MODES = _by_number(DeliveryMode, delivery_pb2.DeliveryMode, "DELIVERY_MODE_")
_POLICIES = _by_number(UncertainPolicy, delivery_pb2.UncertainPolicy, "UNCERTAIN_POLICY_")


def state_from(said: int) -> DeliveryState:
    """Read a state."""
    return _STATES.get(said, DeliveryState.UNRECOGNIZED)


def delivery_from(said: delivery_service_pb2.Delivery) -> Delivery:
    """Read a mail."""
    failure = said.failure
    return Delivery(
        id=said.id,
        state=state_from(said.state),
        caller=said.caller,
        profile=said.profile,
        usage_type=said.usage_type,
        message_id=said.message_id,
        delivery_mode=_MODES.get(said.delivery_mode, DeliveryMode.UNRECOGNIZED),
        uncertain_policy=_POLICIES.get(said.uncertain_policy, UncertainPolicy.UNRECOGNIZED),
        create_time=_time(said.create_time),
        update_time=_time(said.update_time),
        expire_time=_time(said.expire_time),
        next_attempt_time=_time(said.next_attempt_time) if said.HasField("next_attempt_time") else None,
        attempts=said.attempts,
        reply=reply_from(said.reply) if said.HasField("reply") else None,
        host=said.host,
        failure=DeliveryFailure(failure.reason, failure.stage, failure.text) if said.HasField("failure") else None,
        held=said.held,
    )


def change_from(said: delivery_service_pb2.WatchDeliveryResponse) -> DeliveryChange:
    """Read a change."""
    return DeliveryChange(
        said.cursor, state_from(said.state), _time(said.time), said.reason, delivery_from(said.delivery)
    )


def _time(said: Timestamp) -> datetime:
    return said.ToDatetime(tzinfo=timezone.utc)
