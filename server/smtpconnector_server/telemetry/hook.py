"""The one hook that every room is given: it passes each event on to the adapters.

No adapter can harm a mail: what one raises is logged and goes no further.
"""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import structlog

from smtpconnector_server.delivery.events import DeliveryEvent
from smtpconnector_server.outbox.events import OutboxEvent
from smtpconnector_server.rpc.events import CallEvent
from smtpconnector_server.smtp.events import WireEvent
from smtpconnector_server.store.events import StoreEvent

Event: TypeAlias = CallEvent | DeliveryEvent | OutboxEvent | StoreEvent | WireEvent
Hook: TypeAlias = Callable[[Event], None]
Listeners: TypeAlias = Mapping[type, Callable[[Any], None]]
"""What an adapter does with each kind of event that it cares for."""

_log = structlog.get_logger()


def tell(*adapters: Listeners) -> Hook:
    """Return a hook that tells several adapters, each what it listens to."""
    listeners: defaultdict[type, list[Callable[[Any], None]]] = defaultdict(list)
    for adapter in adapters:
        for kind, listener in adapter.items():
            listeners[kind].append(listener)
    of_kind = dict(listeners)

    def hook(event: Event) -> None:
        for listener in of_kind.get(type(event), ()):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - whatever it is, the mail comes first
                frames = traceback.extract_tb(error.__traceback__)[-3:]
                _log.error(
                    "telemetry_broke",
                    telling=type(event).__name__,
                    error_type=type(error).__qualname__,
                    frames=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
                )

    return hook
