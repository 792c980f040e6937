"""What the store is given of a request, and how it knows the request again."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

from smtpconnector_server.outbox import answer
from smtpconnector_server.outbox.parcel import pack
from smtpconnector_server.store.record import Draft
from smtpconnector_server.store.state import Mode, State

if TYPE_CHECKING:
    from smtpconnector_server.delivery.composition import Composed
    from smtpconnector_server.outbox.order import Wanted
    from smtpconnector_server.store.record import Kept
    from smtpconnector_server.store.sealing import Sealer

ENQUEUED_SECONDS: Final = 24 * 3600.0
"""How long a message of the queue is of use where nothing is said."""


class Drafts:
    """Makes drafts.

    Args:
        sealer: Seals their content, and hashes what they are known by.
    """

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def make(self, wanted: Wanted, composed: Composed, *, ends_in: float = 0.0, kept: Kept | None = None) -> Draft:
        """Return what is kept of a request.

        Args:
            wanted: The request.
            composed: Its mail.
            ends_in: Seconds left of the call that waits for it.
            kept: What the store has of it, if the request is taken up again.
        """
        order = wanted.order
        is_waited_for = order.mode is Mode.WAIT
        delivery_id = kept.id if kept is not None else _new_id()
        key = order.supersede_key
        return Draft(
            id=delivery_id,
            caller=wanted.caller,
            lane=wanted.lane,
            profile=wanted.source.profile,
            usage_type=composed.usage_type,
            message_id=composed.mail.message_id,
            mode=order.mode,
            policy=order.policy,
            expires_at=order.expires_at,
            expires_in=ends_in if is_waited_for else ENQUEUED_SECONDS,
            lapses_to=State.NOT_SENT if is_waited_for and order.expires_at is None else State.EXPIRED,
            request_hash=self.request_hash(wanted),
            fingerprint=self._fingerprint(wanted),
            supersede_hash=self._sealer.hash("supersede", wanted.caller, key) if key else None,
            sealed=self._sealer.seal(delivery_id, pack(composed, wanted.source)),
        )

    def request_hash(self, wanted: Wanted) -> bytes | None:
        """Return what stands for a request's caller and id; None where it has no id."""
        request_id = wanted.order.request_id
        return self._sealer.hash("request", wanted.caller, request_id) if request_id else None

    def same(self, kept: Kept, wanted: Wanted) -> Kept:
        """Return what is kept under a request's id, if it is of the same request.

        Raises:
            Failure: REQUEST_ID_CONFLICT.
        """
        if kept.fingerprint != self._fingerprint(wanted):
            raise answer.conflict()
        return kept

    def _fingerprint(self, wanted: Wanted) -> bytes:
        return self._sealer.hash("fingerprint", wanted.content)


def _new_id() -> str:
    """Return an id that nobody can guess and that sorts by its time."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
