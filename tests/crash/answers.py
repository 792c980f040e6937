"""What the service's answers say of a mail, in the words of the ledgers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.rpc import error_details_pb2, status_pb2

from crash.ledger import Word
from smtpconnector.v1.delivery_pb2 import DeliveryState

if TYPE_CHECKING:
    import grpc

_BY_REASON = {
    "DELIVERY_UNCERTAIN": Word.UNKNOWN,
    "DELIVERY_PENDING": Word.PENDING,
    "DELIVERY_EXPIRED": Word.EXPIRED,
    "DELIVERY_CANCELLED": Word.CANCELLED,
    "DELIVERY_SUPERSEDED": Word.SUPERSEDED,
    "DELIVERY_NOT_FOUND": Word.DOOR,
    "DELIVERY_STATE_CONFLICT": Word.DOOR,
    "REQUEST_ID_CONFLICT": Word.CONFLICT,
    "STORE_UNAVAILABLE": Word.DOOR,
    "SHUTTING_DOWN": Word.DOOR,
    "SERVICE_OVERLOADED": Word.DOOR,
    "DEADLINE_EXCEEDED": Word.NOT_SENT,
    "CANCELLED": Word.NOT_SENT,
}


def word_of(state: DeliveryState.ValueType) -> Word:
    """Return what a state of the store says."""
    if state == DeliveryState.DELIVERY_STATE_UNSPECIFIED:
        return Word.SENT  # OK to a call that waited, for a mail that is in no store
    if state in {DeliveryState.DELIVERY_STATE_QUEUED, DeliveryState.DELIVERY_STATE_SENDING}:
        return Word.ACCEPTED
    return Word(DeliveryState.Name(state).removeprefix("DELIVERY_STATE_"))


def said(error: grpc.aio.AioRpcError) -> tuple[Word, str]:
    """Return what an error says of the mail, and its reason."""
    trailing = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(bytes(trailing.get("grpc-status-details-bin", b"")))
    info = error_details_pb2.ErrorInfo()
    if not any(detail.Unpack(info) for detail in status.details):
        return Word.SILENCE, error.code().name
    outcome = info.metadata.get("outcome", "")
    if info.reason in _BY_REASON:
        word = _BY_REASON[info.reason]
        if outcome == "UNKNOWN" and word in {Word.DOOR, Word.NOT_SENT}:
            word = Word.PENDING
        return word, info.reason
    if info.reason.startswith(("SMTP_", "OAUTH2_")) and outcome in {"NOT_SENT", "REJECTED", "UNKNOWN"}:
        return Word(outcome), info.reason
    return Word.DEFECT, info.reason
