"""Kept messages as people and programs read them."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from smtpconnector_server.cli.terminal import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from smtpconnector import Delivery, DeliveryChange

_COLOURS: Final = {
    "SENT": "green",
    "QUEUED": "cyan",
    "SENDING": "cyan",
    "UNKNOWN": "yellow",
    "REJECTED": "red",
    "NOT_SENT": "red",
    "EXPIRED": "red",
}


def table_of(deliveries: Iterable[Delivery]) -> Table:
    """Return messages as a table that fits into 80 columns with their ids whole: the other commands want to be told."""
    from rich.table import Table  # noqa: PLC0415 - costs start-up time that other commands need not pay

    table = Table("id", "state", "accepted", "type, profile", box=None)
    for delivery in deliveries:
        why = f"[dim]{escaped(delivery.failure.reason)}[/]" if delivery.failure else ""
        table.add_row(
            delivery.id,
            f"{_state(delivery)}\n{why}".rstrip(),
            _time(delivery.create_time).replace(" ", "\n"),
            f"{escaped(delivery.usage_type)}\n[dim]{escaped(delivery.profile)}[/]",
        )
    for column in table.columns:
        column.overflow = "fold"
    table.columns[0].no_wrap = True
    return table


def page_of(delivery: Delivery) -> Table:
    """Return all that is known of one message."""
    from rich.table import Table  # noqa: PLC0415

    reply, failure = delivery.reply, delivery.failure
    rows = {
        "id": delivery.id,
        "state": _state(delivery),
        "type": escaped(delivery.usage_type),
        "profile": escaped(delivery.profile or "(came with the request)"),
        "caller": escaped(delivery.caller),
        "message id": escaped(delivery.message_id),
        "mode": f"{delivery.delivery_mode}, {delivery.uncertain_policy} if uncertain",
        "accepted": _time(delivery.create_time),
        "changed": _time(delivery.update_time),
        "expires": _time(delivery.expire_time),
        "next attempt": _time(delivery.next_attempt_time) if delivery.next_attempt_time else "",
        "attempts": f"{delivery.attempts}{f', the newest at {delivery.host}' if delivery.host else ''}",
        "reply": escaped(f"{reply.code} {reply.enhanced_code} {reply.text}".replace("  ", " ")) if reply else "",
        "why": escaped(f"{failure.reason} at {failure.stage}: {failure.text}") if failure else "",
    }
    table = Table(show_header=False, box=None)
    table.add_column(style="dim")
    table.add_column()
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    return table


def line_of(change: DeliveryChange) -> str:
    """Return a change as one line."""
    colour = _COLOURS.get(change.state, "dim")
    reason = f"  {change.reason}" if change.reason else ""
    return f"[dim]{change.cursor:3}  {_time(change.time)}[/]  [{colour}]{change.state}[/]{reason}"


def plain(value: Delivery | DeliveryChange) -> dict[str, Any]:
    """Return it for JSON: times in RFC 3339."""
    return {name: _plain(part) for name, part in dataclasses.asdict(value).items()}


def _plain(part: Any) -> Any:  # noqa: ANN401 - any part of a frozen value
    if isinstance(part, dict):
        return {name: _plain(inner) for name, inner in part.items()}
    return part.isoformat() if isinstance(part, datetime) else part


def _state(delivery: Delivery) -> str:
    colour = _COLOURS.get(delivery.state, "dim")
    return f"[{colour}]{delivery.state}[/]{', held' if delivery.held else ''}"


def _time(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"
