"""The keys of the configuration document, as people see them: labels, descriptions, defaults.

``data/keys.toml`` holds the texts, :class:`~smtpconnector_server.config.shape.DocumentShape` the types; reading fails
if they do not name the same keys. Form, schema, example and documentation are all made from here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from smtpconnector_server.config.data import read_table
from smtpconnector_server.config.shape import (
    DkimShape,
    DocumentShape,
    DsnShape,
    LoginShape,
    OAuth2Shape,
    OtpShape,
    TemplateShape,
    TlsShape,
    key_names,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpconnector_server.config.intake import Json
    from smtpconnector_server.config.shape import Shape

MEMBER_SHAPES: Final[dict[str, tuple[type[Shape], ...]]] = {
    "auth": (LoginShape, OAuth2Shape),
    "templates": (TemplateShape,),
    "tls": (TlsShape,),
    "dsn": (DsnShape,),
    "otp": (OtpShape,),
    "dkim": (DkimShape,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the document."""

    name: str
    label: Mapping[str, str]
    """By language tag."""
    description: Mapping[str, str]
    """By language tag."""
    form: str | None = None
    """The kind of input, such as ``Text``. None: not in the form."""
    required: bool = False
    placeholder: str = ""
    default: Json = None
    example: Json = None
    """The value in the example. None: the default."""
    confidential: bool = False
    deprecated: bool = False
    select: tuple[str, ...] = ()
    """The values to choose from."""
    members: Mapping[str, str]
    """What each key of an object means, in English."""


@functools.cache
def keys() -> tuple[Key, ...]:
    """Return the keys of the document, in the order of the form."""
    table = read_table("keys.toml")
    names = key_names(DocumentShape)
    if list(table) != names:
        raise AssertionError(f"keys.toml and DocumentShape differ in {set(table) ^ set(names) or 'their order'}")
    return tuple(_key(name, facts) for name, facts in table.items())


def _key(name: str, facts: dict[str, Any]) -> Key:  # Any: TOML
    members = facts.get("members", {})
    expected = key_names(*MEMBER_SHAPES.get(name, ()))
    if set(members) != set(expected):
        raise AssertionError(f"keys.toml and the shape of {name} differ in {set(members) ^ set(expected)}")
    return Key(**{**facts, "name": name, "members": members, "select": tuple(facts.get("select", ()))})
