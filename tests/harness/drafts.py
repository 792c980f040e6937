"""Messages for tests of the store: what a draft needs, and nothing that a test does not say."""

from __future__ import annotations

import itertools
from typing import Any

from smtpconnector_server.store.record import Draft, Sealed
from smtpconnector_server.store.state import Mode, State, UncertainPolicy

_numbers = itertools.count(1)


def draft(now: float, **changes: Any) -> Draft:
    """Return a draft that is told from all others by its id, and expires in a minute after ``now``."""
    number = next(_numbers)
    fields: dict[str, Any] = {
        "id": f"{number:012x}",
        "caller": "shop",
        "lane": "default",
        "profile": "default",
        "usage_type": "Register",
        "message_id": f"<{number}@mail.example>",
        "mode": Mode.ENQUEUE,
        "policy": UncertainPolicy.HOLD,
        "expires_at": now + 60.0,
        "lapses_to": State.EXPIRED,
        "request_hash": None,
        "fingerprint": None,
        "supersede_hash": None,
        "sealed": Sealed(key_id="k1", wrapped_key=b"wrapped %d" % number, content=b"content %d" % number),
    }
    return Draft(**fields | changes)
