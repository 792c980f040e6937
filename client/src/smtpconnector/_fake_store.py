"""The store of :class:`smtpconnector.testing.FakeConnector`, in memory: what was kept, and the answers about it."""
# ruff: noqa: N802 - names of the methods are the contract's

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smtpconnector._fake_failure import HOST, FakeFailure, abort
from smtpconnector.errors import Outcome
from smtpconnector.v1 import delivery_pb2, delivery_service_pb2_grpc
from smtpconnector.v1 import delivery_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

    from smtpconnector.v1.connector_service_pb2 import SendMessageRequest

_QUEUED = delivery_pb2.DELIVERY_STATE_QUEUED
_SENT = delivery_pb2.DELIVERY_STATE_SENT
_UNKNOWN = delivery_pb2.DELIVERY_STATE_UNKNOWN
_CANCELLED = delivery_pb2.DELIVERY_STATE_CANCELLED
_DAY_SECONDS = 24 * 3600
_LOOK_SECONDS = 0.1


@dataclass
class FakeKept:
    """A message in the store."""

    request: SendMessageRequest
    delivery: pb.Delivery
    changes: list[pb.WatchDeliveryResponse] = field(default_factory=list)
    failure: FakeFailure | None = None
    """What a call that waits for it is told. None: that it was sent."""


def needs_store(request: SendMessageRequest) -> bool:
    """Tell whether only a service with a store can keep what a request asks for."""
    return bool(
        request.request_id
        or request.supersede_key
        or request.delivery_mode == delivery_pb2.DELIVERY_MODE_ENQUEUE
        or request.uncertain_policy == delivery_pb2.UNCERTAIN_POLICY_RESEND
    )


class FakeStore(delivery_service_pb2_grpc.DeliveryServiceServicer):
    """Keeps messages until the process ends. One caller, who is an operator."""

    def __init__(self) -> None:
        self._kept: dict[str, FakeKept] = {}
        self._changed = threading.Condition()

    def find(self, request: SendMessageRequest) -> FakeKept | None:
        """Return what is kept under a request's id.

        Raises:
            KeyError: It has served for another request.
        """
        with self._changed:
            for kept in self._kept.values():
                if request.request_id and kept.request.request_id == request.request_id:
                    if _content(kept.request) != _content(request):
                        raise KeyError(request.request_id)
                    return kept
        return None

    def accept(self, request: SendMessageRequest, message_id: str) -> FakeKept:
        """Keep a message, which is QUEUED, and supersede older ones with its key."""
        delivery = pb.Delivery(
            id=f"{len(self._kept) + 1:032x}",
            caller="anybody",
            profile=request.config.profile or "default",
            usage_type=request.type,
            message_id=message_id,
            delivery_mode=request.delivery_mode or delivery_pb2.DELIVERY_MODE_WAIT,
            uncertain_policy=request.uncertain_policy or delivery_pb2.UNCERTAIN_POLICY_HOLD,
        )
        delivery.create_time.GetCurrentTime()
        delivery.expire_time.FromSeconds(int(time.time()) + _DAY_SECONDS)
        if request.HasField("expire_time"):
            delivery.expire_time.CopyFrom(request.expire_time)
        kept = FakeKept(request, delivery)
        with self._changed:
            for other in self._kept.values():
                if request.supersede_key and other.request.supersede_key == request.supersede_key:
                    self._supersede(other)
            self._kept[delivery.id] = kept
            self._move(kept, _QUEUED)
        return kept

    def end(self, delivery_id: str, state: delivery_pb2.DeliveryState.ValueType, failure: FakeFailure | None) -> None:
        """Say what became of a message.

        Raises:
            KeyError: There is none of this id.
        """
        with self._changed:
            kept = self._kept[delivery_id]
            kept.failure = failure
            self._move(kept, state, failure.reason if failure is not None else "")

    def GetDelivery(self, request: pb.GetDeliveryRequest, context: grpc.ServicerContext) -> pb.GetDeliveryResponse:
        """Tell what became of a message."""
        return pb.GetDeliveryResponse(delivery=self._named(request, context).delivery)

    def WatchDelivery(
        self, request: pb.WatchDeliveryRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchDeliveryResponse]:
        """Tell every change until the state is final."""
        kept = self._named(request, context)
        cursor = request.cursor
        while context.is_active():
            with self._changed:
                if len(kept.changes) <= cursor and not _is_final(kept):
                    self._changed.wait(_LOOK_SECONDS)
                news, is_over = kept.changes[cursor:], _is_final(kept)
            cursor += len(news)
            yield from news
            if is_over:
                return

    def ListDeliveries(
        self, request: pb.ListDeliveriesRequest, context: grpc.ServicerContext
    ) -> pb.ListDeliveriesResponse:
        """List messages, the newest first."""
        if request.page_token and request.page_token not in self._kept:
            abort(context, FakeFailure("INVALID_REQUEST", violations={"page_token": "It is of no page."}))
        with self._changed:
            found = [kept.delivery for kept in reversed(self._kept.values()) if _fits(kept.delivery, request)]
        size = request.page_size or 50
        more = len(found) > size
        return pb.ListDeliveriesResponse(deliveries=found[:size], next_page_token=found[size - 1].id if more else "")

    def CancelDelivery(
        self, request: pb.CancelDeliveryRequest, context: grpc.ServicerContext
    ) -> pb.CancelDeliveryResponse:
        """Cancel a message that is QUEUED."""
        kept = self._named(request, context)
        with self._changed:
            if kept.delivery.state == _QUEUED:
                kept.failure = FakeFailure("DELIVERY_CANCELLED", Outcome.NOT_SENT)
                self._move(kept, _CANCELLED, "DELIVERY_CANCELLED")
        if kept.delivery.state != _CANCELLED:
            abort(context, FakeFailure("DELIVERY_STATE_CONFLICT"))
        return pb.CancelDeliveryResponse(delivery=kept.delivery)

    def ResolveDelivery(
        self, request: pb.ResolveDeliveryRequest, context: grpc.ServicerContext
    ) -> pb.ResolveDeliveryResponse:
        """Queue a held message again, or drop it."""
        kept = self._named(pb.GetDeliveryRequest(id=request.id), context)
        with self._changed:
            is_held = kept.delivery.held
            if is_held and request.resolution == pb.RESOLUTION_SEND_AGAIN:
                self._move(kept, _QUEUED)
            kept.delivery.held = False
        if not is_held:
            abort(context, FakeFailure("DELIVERY_STATE_CONFLICT"))
        return pb.ResolveDeliveryResponse(delivery=kept.delivery)

    def _named(
        self,
        request: pb.GetDeliveryRequest | pb.WatchDeliveryRequest | pb.CancelDeliveryRequest,
        context: grpc.ServicerContext,
    ) -> FakeKept:
        if bool(request.id) == bool(request.request_id):
            fault = "Give exactly one of id and request_id."
            abort(context, FakeFailure("INVALID_REQUEST", violations={"id": fault, "request_id": fault}))
        with self._changed:
            for kept in self._kept.values():
                name = kept.delivery.id if request.id else kept.request.request_id
                if name == (request.id or request.request_id):
                    return kept
        return abort(context, FakeFailure("DELIVERY_NOT_FOUND"))

    def _supersede(self, kept: FakeKept) -> None:
        if kept.delivery.state == _QUEUED:
            kept.failure = FakeFailure("DELIVERY_SUPERSEDED", Outcome.NOT_SENT)
            self._move(kept, delivery_pb2.DELIVERY_STATE_SUPERSEDED, "DELIVERY_SUPERSEDED")

    def _move(self, kept: FakeKept, state: delivery_pb2.DeliveryState.ValueType, reason: str = "") -> None:
        delivery = kept.delivery
        delivery.state = state
        delivery.held = state == _UNKNOWN
        delivery.update_time.GetCurrentTime()
        delivery.ClearField("next_attempt_time")
        delivery.ClearField("failure")
        if state == _QUEUED:
            delivery.next_attempt_time.CopyFrom(delivery.update_time)
        else:
            delivery.attempts += 1
            delivery.host = HOST
        if state == _SENT:
            delivery.reply.code, delivery.reply.enhanced_code, delivery.reply.text = 250, "2.0.0", "Recorded"
        if reason:
            delivery.failure.reason, delivery.failure.text = reason, f"The test wants {reason}."
        change = pb.WatchDeliveryResponse(cursor=len(kept.changes) + 1, state=state, reason=reason, delivery=delivery)
        change.time.CopyFrom(delivery.update_time)
        kept.changes.append(change)
        self._changed.notify_all()


def _is_final(kept: FakeKept) -> bool:
    return kept.delivery.state not in {_QUEUED, delivery_pb2.DELIVERY_STATE_SENDING}


def _fits(delivery: pb.Delivery, request: pb.ListDeliveriesRequest) -> bool:
    made = delivery.create_time.ToNanoseconds()
    return (
        (not request.states or delivery.state in request.states)
        and (not request.profile or delivery.profile == request.profile)
        and (not request.HasField("created_after") or made >= request.created_after.ToNanoseconds())
        and (not request.HasField("created_before") or made < request.created_before.ToNanoseconds())
        and (not request.page_token or delivery.id < request.page_token)
    )


def _content(request: SendMessageRequest) -> bytes:
    """Return all that a repeat must have in common with the first."""
    same = type(request)()
    same.CopyFrom(request)
    same.ClearField("request_id")
    same.ClearField("expire_time")
    same.ClearField("client_ip")
    return same.SerializeToString(deterministic=True)
