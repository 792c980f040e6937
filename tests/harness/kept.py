"""Messages as a store has them, for tests that need no store."""

from __future__ import annotations

from typing import Any

from smtpconnector_server.store.record import Attempt, Kept
from smtpconnector_server.store.state import Mode, State, UncertainPolicy


def kept(**changes: Any) -> Kept:
    """Return a message that is being sent for the first time."""
    fields: dict[str, Any] = {
        "id": "a",
        "caller": "shop",
        "lane": "profile:default",
        "profile": "default",
        "usage_type": "SignIn",
        "message_id": "<a@example.com>",
        "mode": Mode.WAIT,
        "policy": UncertainPolicy.HOLD,
        "state": State.SENDING,
        "is_committed": False,
        "attempt": 1,
        "may_have_arrived": False,
        "deferrals": 0,
        "resends_left": 0,
        "created_at": 0.0,
        "updated_at": 0.0,
        "due_at": 0.0,
        "expires_at": 60.0,
        "fingerprint": None,
        "last": Attempt(),
        "history": (),
        "is_held": False,
    }
    return Kept(**fields | changes)
