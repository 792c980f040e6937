"""What clients ask for in a campaign, and how they go about it: all that the contract offers, mixed by chance."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from crash.ledger import Request
from smtpconnector.v1.connector_service_pb2 import SendMessageRequest
from smtpconnector.v1.delivery_pb2 import DeliveryMode, UncertainPolicy

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class Course:
    """What a client does with a request beside asking for it."""

    deadline: float
    is_doubled: bool
    """A second call for it while the first is running."""
    is_repeated: bool
    """Another one when it has its answer."""
    is_rivalled: bool
    """Another request steals its id."""
    is_cancelled: bool
    is_given_up: bool
    """The first call is cancelled early."""
    is_watched: bool
    octets: int
    """Of the text, beside the rest."""


def draw(random: Random, key: str, *, has_store: bool, longest: float) -> Request:
    """Make up a request.

    Args:
        random: Chance.
        key: Its key.
        has_store: Whether the service keeps what it accepts. Without: WAIT and nothing else.
        longest: Seconds that the most patient message lives.
    """
    if not has_store:
        return Request(key=key)
    mode = random.choice(("WAIT", "ENQUEUE"))
    has_id = random.random() < 0.85
    ahead = random.choice((1.0, longest / 12, longest / 5, longest / 2, longest))
    is_bounded = mode == "ENQUEUE" or random.random() < 0.5
    return Request(
        key=key,
        request_id=f"id-{key}" if has_id else "",
        mode=mode,
        policy="RESEND" if has_id and random.random() < 0.3 else "HOLD",
        expires_at=round(time.time() + ahead, 3) if is_bounded else None,
        supersede_key=f"s{random.randrange(8)}" if random.random() < 0.1 else "",
    )


def draw_course(random: Random) -> Course:
    """Make up how a client goes about a request."""
    return Course(
        deadline=random.choice((0.3, 3.0, 6.0, 10.0)),
        is_doubled=random.random() < 0.15,
        is_repeated=random.random() < 0.15,
        is_rivalled=random.random() < 0.05,
        is_cancelled=random.random() < 0.07,
        is_given_up=random.random() < 0.05,
        is_watched=random.random() < 0.1,
        octets=random.choice((0, 0, 0, 0, 2000, 60000)),
    )


def message(request: Request, octets: int) -> SendMessageRequest:
    """Return a request as it travels."""
    travels = SendMessageRequest(
        to=f"{request.key}@example.com",
        type="SignIn",
        request_id=request.request_id,
        supersede_key=request.supersede_key,
    )
    if request.mode != "WAIT":
        travels.delivery_mode = DeliveryMode.Value(f"DELIVERY_MODE_{request.mode}")
    if request.policy != "HOLD":
        travels.uncertain_policy = UncertainPolicy.Value(f"UNCERTAIN_POLICY_{request.policy}")
    travels.payload.update({"code": request.key, "pad": "pad " * (octets // 4)})
    if request.expires_at is not None:
        moment = Timestamp()
        moment.FromMilliseconds(round(request.expires_at * 1000))
        travels.expire_time.CopyFrom(moment)
    return travels
