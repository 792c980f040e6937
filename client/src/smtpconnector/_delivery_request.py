"""From the arguments of calls about kept mails to their requests, and how a mail is to be delivered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from smtpconnector._struct import refused, text_from
from smtpconnector.delivery import DeliveryMode, DeliveryState, Resolution, UncertainPolicy
from smtpconnector.v1 import delivery_pb2
from smtpconnector.v1 import delivery_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable
    from enum import Enum

    from smtpconnector.v1.connector_service_pb2 import SendMessageRequest


@dataclass(frozen=True)
class DeliveryWish:
    """How a mail is to be delivered; the arguments of ``send_message``."""

    request_id: str
    delivery_mode: DeliveryMode
    expire_time: datetime | None
    expire_in: timedelta | None
    supersede_key: str
    uncertain_policy: UncertainPolicy

    def put_into(self, request: SendMessageRequest) -> None:
        """Set the request's fields; the defaults stay unset.

        Raises:
            InvalidRequest: A value cannot be carried.
        """
        request.request_id = text_from(self.request_id, "request_id")
        request.supersede_key = text_from(self.supersede_key, "supersede_key")
        mode = _name_of(DeliveryMode, self.delivery_mode, "delivery_mode")
        if mode != DeliveryMode.WAIT:
            request.delivery_mode = delivery_pb2.DeliveryMode.Value(f"DELIVERY_MODE_{mode}")
        policy = _name_of(UncertainPolicy, self.uncertain_policy, "uncertain_policy")
        if policy != UncertainPolicy.HOLD:
            request.uncertain_policy = delivery_pb2.UncertainPolicy.Value(f"UNCERTAIN_POLICY_{policy}")
        expire_time = self._expire_time()
        if expire_time is not None:
            request.expire_time.CopyFrom(expire_time)

    def _expire_time(self) -> Timestamp | None:
        if self.expire_time is not None and self.expire_in is not None:
            raise refused("expire_in", "is given beside expire_time; give one of them")
        if self.expire_in is None:
            return timestamp_from(self.expire_time, "expire_time")
        if not isinstance(self.expire_in, timedelta):
            raise refused("expire_in", f"is a {type(self.expire_in).__name__}, where a timedelta is wanted")
        if self.expire_in <= timedelta():
            raise refused("expire_in", "must be more than nothing")
        return timestamp_from(datetime.now(timezone.utc) + self.expire_in, "expire_in")


def get_request(delivery_id: str, request_id: str) -> pb.GetDeliveryRequest:
    """Build a GetDeliveryRequest.

    Raises:
        InvalidRequest: A value cannot be carried.
    """
    return pb.GetDeliveryRequest(id=text_from(delivery_id, "id"), request_id=text_from(request_id, "request_id"))


def watch_request(delivery_id: str, request_id: str, cursor: int) -> pb.WatchDeliveryRequest:
    """Build a WatchDeliveryRequest.

    Raises:
        InvalidRequest: A value cannot be carried.
    """
    if not 0 <= cursor < 2**64:
        raise refused("cursor", "must be the cursor of a change, or 0")
    return pb.WatchDeliveryRequest(
        id=text_from(delivery_id, "id"), request_id=text_from(request_id, "request_id"), cursor=cursor
    )


def list_request(
    states: Iterable[DeliveryState], profile: str, created_after: datetime | None, created_before: datetime | None
) -> pb.ListDeliveriesRequest:
    """Build a ListDeliveriesRequest for the first page.

    Raises:
        InvalidRequest: A value cannot be carried.
    """
    return pb.ListDeliveriesRequest(
        states=[
            delivery_pb2.DeliveryState.Value(f"DELIVERY_STATE_{_name_of(DeliveryState, state, 'states')}")
            for state in states
        ],
        profile=text_from(profile, "profile"),
        created_after=timestamp_from(created_after, "created_after"),
        created_before=timestamp_from(created_before, "created_before"),
    )


def cancel_request(delivery_id: str, request_id: str) -> pb.CancelDeliveryRequest:
    """Build a CancelDeliveryRequest.

    Raises:
        InvalidRequest: A value cannot be carried.
    """
    return pb.CancelDeliveryRequest(id=text_from(delivery_id, "id"), request_id=text_from(request_id, "request_id"))


def resolve_request(delivery_id: str, resolution: Resolution) -> pb.ResolveDeliveryRequest:
    """Build a ResolveDeliveryRequest.

    Raises:
        InvalidRequest: A value cannot be carried.
    """
    decided = _name_of(Resolution, resolution, "resolution")
    return pb.ResolveDeliveryRequest(
        id=text_from(delivery_id, "id"), resolution=pb.Resolution.Value(f"RESOLUTION_{decided}")
    )


def timestamp_from(time: datetime | None, path: str) -> Timestamp | None:
    """Make a Timestamp of a time that is one everywhere.

    Raises:
        InvalidRequest: It has no time zone, so that nobody can tell which moment is meant.
    """
    if time is None:
        return None
    if not isinstance(time, datetime):
        raise refused(path, f"is a {type(time).__name__}, where a datetime is wanted")
    if time.utcoffset() is None:
        raise refused(path, "is a datetime without a time zone; use datetime.now(timezone.utc), or add tzinfo")
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


def _name_of(kind: type[Enum], value: str, path: str) -> str:
    """Return the name that the contract has for a member.

    Raises:
        InvalidRequest: It is none.
    """
    names = [name for name in kind.__members__ if name != "UNRECOGNIZED"]
    if value not in names:
        raise refused(path, f"is none of {', '.join(names)}")
    return str.__str__(value)
