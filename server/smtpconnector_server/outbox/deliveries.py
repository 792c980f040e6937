"""What the store tells of its messages, and the decisions about them that are left to people.

A caller sees his own messages only; of another's he is not even told that it exists.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

import structlog

from smtpconnector_server.failure import Failure, Reason, Stage, Violation
from smtpconnector_server.outbox import answer
from smtpconnector_server.store.state import State
from smtpconnector_server.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from smtpconnector_server.outbox.changes import Changes
    from smtpconnector_server.store.record import Change, Filter, Kept
    from smtpconnector_server.store.sealing import Sealer
    from smtpconnector_server.store.store import Store

_PROOF_OCTETS: Final = 16
_MAY_HAVE_ARRIVED: Final = "It may have arrived, so it cannot be cancelled. It is not sent again by itself."

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks."""

    caller: str
    is_operator: bool
    """Whether he sees everybody's messages."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a message is asked for by: exactly one of the two."""

    id: str = ""
    request_id: str = field(default="", repr=False)
    """Of the viewer's own request."""


class Resolution(Enum):
    """What becomes of a held message. The contract's ``Resolution`` has the same names."""

    SEND_AGAIN = "SEND_AGAIN"
    DROP = "DROP"


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages, the newest first."""

    deliveries: list[Kept]
    next_token: str
    """Asks for the next page. Empty: this is the last one."""


class Deliveries:
    """Tells of messages.

    Args:
        store: Keeps them.
        sealer: Hashes what they are looked up by.
        changes: Tells when the state of a message may have changed.
    """

    def __init__(self, store: Store, sealer: Sealer, changes: Changes) -> None:
        self._store = store
        self._sealer = sealer
        self._changes = changes

    async def get(self, viewer: Viewer, name: Name) -> Kept:
        """Return a message.

        Raises:
            Failure: DELIVERY_NOT_FOUND, STORE_UNAVAILABLE.
        """
        with _asking("get"):
            if name.request_id:
                kept = await self._store.find(self._sealer.hash("request", viewer.caller, name.request_id))
            else:
                kept = await self._store.get(name.id)
        return _seen(kept, viewer)

    async def watch(self, viewer: Viewer, name: Name, cursor: int) -> AsyncGenerator[tuple[Change, Kept], None]:
        """Tell every change of a message after a cursor, those of the past first, until its state is final.

        Yields:
            The change, and the message as it is by then.

        Raises:
            Failure: DELIVERY_NOT_FOUND, STORE_UNAVAILABLE.
        """
        kept = await self.get(viewer, name)
        with self._changes.of(kept.id) as changed:
            while True:
                kept = await self.get(viewer, Name(kept.id))
                for change in kept.history:
                    if change.cursor > cursor:
                        cursor = change.cursor
                        yield change, kept
                if kept.state.is_final:
                    return
                await changed()

    async def list(self, viewer: Viewer, which: Filter, *, page_size: int, page_token: str) -> Page:
        """Return a page of messages.

        Args:
            viewer: Who asks.
            which: Those to list; whose they are is added.
            page_size: At most how many.
            page_token: The page before's :attr:`Page.next_token`, for the same ``which``. Empty: the first page.

        Raises:
            Failure: INVALID_REQUEST for a token that is none of these; STORE_UNAVAILABLE.
        """
        which = replace(which, caller=None if viewer.is_operator else viewer.caller)
        before_id = self._before(page_token, viewer, which) if page_token else None
        with _asking("list"):
            found = await self._store.list(replace(which, before_id=before_id), limit=page_size + 1)
        page = found[:page_size]
        return Page(page, self._token(page[-1].id, viewer, which) if len(found) > page_size else "")

    async def cancel(self, viewer: Viewer, name: Name) -> Kept:
        """Cancel a message that has not left, and return it.

        Raises:
            Failure: DELIVERY_STATE_CONFLICT, DELIVERY_NOT_FOUND, STORE_UNAVAILABLE.
        """
        kept = await self.get(viewer, name)
        with _asking("cancel"):
            kept = _seen(await self._store.cancel(kept.id), viewer)
        if kept.state is not State.CANCELLED:
            is_uncertain = kept.state is State.UNKNOWN
            raise _conflict(kept, _MAY_HAVE_ARRIVED if is_uncertain else "It cannot be cancelled any more.")
        return kept

    async def resolve(self, viewer: Viewer, delivery_id: str, resolution: Resolution) -> Kept:
        """Decide what becomes of a held message, and return it.

        Dropping one again succeeds again; sending one again does not, or a repeated request would be a third mail.

        Raises:
            Failure: DELIVERY_STATE_CONFLICT, DELIVERY_NOT_FOUND, STORE_UNAVAILABLE.
        """
        kept = await self.get(viewer, Name(delivery_id))
        if kept.state is not State.UNKNOWN or (resolution is Resolution.SEND_AGAIN and not kept.is_held):
            raise _conflict(kept, "Only a held message can be resolved.")
        with _asking("resolve"):
            if resolution is Resolution.DROP:
                kept = _seen(await self._store.drop(delivery_id), viewer)
                is_done = kept.state is State.UNKNOWN
            else:
                kept = _seen(await self._store.send_again(delivery_id), viewer)
                is_done = kept.state is State.QUEUED
        if not is_done:
            raise _conflict(kept, "Somebody else has decided, or its time is over.")
        _log.info("delivery_resolved", delivery_id=delivery_id, resolution=resolution.value, caller=viewer.caller)
        return kept

    def _token(self, before_id: str, viewer: Viewer, which: Filter) -> str:
        proof = self._proof(before_id, viewer, which)
        return urlsafe_b64encode(proof + before_id.encode()).rstrip(b"=").decode()

    def _before(self, token: str, viewer: Viewer, which: Filter) -> str:
        try:
            octets = urlsafe_b64decode(token + "=" * (-len(token) % 4))
            before_id = octets[_PROOF_OCTETS:].decode("ascii")
            is_ours = hmac.compare_digest(octets[:_PROOF_OCTETS], self._proof(before_id, viewer, which))
        except ValueError:
            is_ours = False
        if not is_ours:
            description = "Give the next_page_token of the page before, with the same filters, or none."
            raise Failure(
                Reason.INVALID_REQUEST,
                f"page_token: {description}",
                stage=Stage.REQUEST,
                violations=(Violation("page_token", description),),
            )
        return before_id

    def _proof(self, before_id: str, viewer: Viewer, which: Filter) -> bytes:
        """Return what shows that a token is of this store, this viewer and these filters."""
        return self._sealer.hash("page", before_id, viewer.caller, repr(which))[:_PROOF_OCTETS]


@contextmanager
def _asking(doing: str) -> Iterator[None]:
    """Word the failures of the store.

    Raises:
        Failure: STORE_UNAVAILABLE.
    """
    try:
        yield
    except StoreError as error:
        _log.warning("store_failed", doing=doing, error=str(error))
        raise answer.unavailable() from None


def _seen(kept: Kept | None, viewer: Viewer) -> Kept:
    if kept is None or not (viewer.is_operator or kept.caller == viewer.caller):
        raise Failure(
            Reason.DELIVERY_NOT_FOUND,
            "The store keeps no such message of yours. Ends are forgotten after the server's retention.",
            stage=Stage.STORE,
        )
    return kept


def _conflict(kept: Kept, text: str) -> Failure:
    is_leaving = kept.state is State.SENDING and kept.is_committed
    state = "SENDING, and may have left already" if is_leaving else kept.state
    return Failure(Reason.DELIVERY_STATE_CONFLICT, f"The message is {state}. {text}", stage=Stage.STORE)
