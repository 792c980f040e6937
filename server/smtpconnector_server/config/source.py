"""Where a configuration comes from, in a form that can be kept and read again later."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class SourceKind(Enum):
    """The three ways in which a request names its configuration."""

    PROFILE = "profile"
    DOCUMENT = "document"
    SMTP = "smtp"


@dataclass(frozen=True, slots=True)
class Source:
    """A profile by its name, or a configuration that came with a request, secrets included."""

    kind: SourceKind
    profile: str | None = None
    """The profile's name; None for the other kinds."""
    values: dict[str, Any] = field(default_factory=dict, repr=False)
    """The document, or the fields of an ``SmtpConfig`` by their names in the contract."""

    def to_json(self) -> str:
        """Return it as JSON, secrets in the clear: for encryption only."""
        return json.dumps({"kind": self.kind.value, "profile": self.profile, "values": self.values})

    @classmethod
    def from_json(cls, text: str) -> Source:
        """Return what :meth:`to_json` was told."""
        kept = json.loads(text)
        return cls(SourceKind(kept["kind"]), kept["profile"], kept["values"])
