"""What the connector is: its name and description in several languages, its logo, its guide."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.data import read_table, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_README_LANGUAGES: Final = ("en", "zh-CN")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorMetadata:
    """What the connector is. Texts go by language tag; ``en`` is always there."""

    id: str
    target: str
    platform: str | None
    """None: every platform."""
    name: Mapping[str, str]
    description: Mapping[str, str]
    readme: Mapping[str, str]
    """Markdown."""
    logo: str
    """SVG for light backgrounds."""
    logo_dark: str
    """SVG for dark backgrounds."""


@functools.cache
def connector_metadata() -> ConnectorMetadata:
    """Return what the connector is."""
    texts = read_table("connector.toml")
    return ConnectorMetadata(
        id="simple-mail-transfer-protocol",
        target="smtp",
        platform=None,
        name=texts["name"],
        description=texts["description"],
        readme={language: read_text(f"readme.{language}.md") for language in _README_LANGUAGES},
        logo=read_text("logo.svg"),
        logo_dark=read_text("logo_dark.svg"),
    )
