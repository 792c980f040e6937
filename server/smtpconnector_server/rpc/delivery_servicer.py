"""DeliveryService: tells what became of the messages that the store keeps."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from smtpconnector.v1 import delivery_service_pb2 as pb
from smtpconnector.v1 import delivery_service_pb2_grpc
from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.outbox.deliveries import Viewer
from smtpconnector_server.rpc import delivery_mapping as mapping
from smtpconnector_server.rpc.callers import CALLER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc

    from smtpconnector_server.outbox.deliveries import Deliveries
    from smtpconnector_server.rpc.limits import Limits

    Context = grpc.aio.ServicerContext[Any, Any]


class DeliveryServicer(delivery_service_pb2_grpc.DeliveryServiceServicer):
    """The service's methods.

    Args:
        deliveries: What the store keeps. None: this server has no store.
        limits: Counts the calls; a watch counts for as long as it lasts.
    """

    def __init__(self, deliveries: Deliveries | None, limits: Limits) -> None:
        self._kept = deliveries
        self._limits = limits

    async def GetDelivery(self, request: pb.GetDeliveryRequest, context: Context) -> pb.GetDeliveryResponse:  # noqa: ARG002, N802 - the contract's
        """Tell what became of a message."""
        viewer = _viewer()
        with self._limits.call(viewer.caller):
            kept = await self._deliveries().get(viewer, mapping.to_name(request))
            return pb.GetDeliveryResponse(delivery=mapping.to_delivery(kept))

    async def WatchDelivery(  # noqa: N802 - the contract's
        self,
        request: pb.WatchDeliveryRequest,
        context: Context,  # noqa: ARG002 - the contract's
    ) -> AsyncIterator[pb.WatchDeliveryResponse]:
        """Tell every change of a message's state until it is final."""
        viewer = _viewer()
        with self._limits.call(viewer.caller):
            async with aclosing(self._deliveries().watch(viewer, mapping.to_name(request), request.cursor)) as changes:
                async for change, kept in changes:
                    yield mapping.to_change(change, kept)

    async def ListDeliveries(self, request: pb.ListDeliveriesRequest, context: Context) -> pb.ListDeliveriesResponse:  # noqa: ARG002, N802 - the contract's
        """List messages, the newest first."""
        viewer = _viewer()
        with self._limits.call(viewer.caller):
            deliveries = self._deliveries()
            which, page_size = mapping.to_filter(request)
            page = await deliveries.list(viewer, which, page_size=page_size, page_token=request.page_token)
            return pb.ListDeliveriesResponse(
                deliveries=map(mapping.to_delivery, page.deliveries), next_page_token=page.next_token
            )

    async def CancelDelivery(self, request: pb.CancelDeliveryRequest, context: Context) -> pb.CancelDeliveryResponse:  # noqa: ARG002, N802 - the contract's
        """Cancel a message that has not left yet."""
        viewer = _viewer()
        with self._limits.call(viewer.caller):
            kept = await self._deliveries().cancel(viewer, mapping.to_name(request))
            return pb.CancelDeliveryResponse(delivery=mapping.to_delivery(kept))

    async def ResolveDelivery(self, request: pb.ResolveDeliveryRequest, context: Context) -> pb.ResolveDeliveryResponse:  # noqa: ARG002, N802 - the contract's
        """Decide what becomes of a held message."""
        viewer = _viewer()
        with self._limits.call(viewer.caller):
            deliveries = self._deliveries()
            CALLER.get().require_operator()
            delivery_id, resolution = mapping.to_resolution(request)
            kept = await deliveries.resolve(viewer, delivery_id, resolution)
            return pb.ResolveDeliveryResponse(delivery=mapping.to_delivery(kept))

    def _deliveries(self) -> Deliveries:
        if self._kept is None:
            raise Failure(
                Reason.NOT_IMPLEMENTED,
                "This server keeps no messages. The operator gives it a store with --store.",
                stage=Stage.REQUEST,
            )
        return self._kept


def _viewer() -> Viewer:
    caller = CALLER.get()
    return Viewer(caller.name, caller.operator)
