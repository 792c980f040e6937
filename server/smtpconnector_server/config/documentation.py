"""The tables of docs/configuration.md, from the same source as form and schema.

``scripts/write-configuration-docs`` writes them between ``<!-- table NAME -->`` and ``<!-- end -->``; a test fails
while the file does not hold them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.example import example_value
from smtpconnector_server.config.keys import keys
from smtpconnector_server.config.options import UNUSED
from smtpconnector_server.config.presets import presets, service_names
from smtpconnector_server.config.shape import DkimShape, DocumentShape, OAuth2Shape, OtpShape, TlsShape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from smtpconnector_server.config.keys import Key
    from smtpconnector_server.config.presets import Preset

_BLOCK: Final = re.compile(r"(<!-- table (?P<name>[a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_PREFIXES: Final = {DocumentShape: "", TlsShape: "tls.", OAuth2Shape: "auth.", OtpShape: "otp.", DkimShape: "dkim."}


def filled_in(text: str) -> str:
    """Return a Markdown text with its tables written anew."""
    return _BLOCK.sub(lambda block: f"{block[1]}\n{_TABLES[block['name']]()}\n{block[3]}", text)


def _keys() -> str:
    rows = [(f"`{key.name}`", _kind(key), _default(key), key.description["en"]) for key in keys()]
    return _table(("key", "kind", "default", "meaning"), rows)


def _members(name: str) -> str:
    (key,) = (key for key in keys() if key.name == name)
    return _table(("key", "meaning"), ((f"`{member}`", text) for member, text in key.members.items()))


def _providers() -> str:
    rows = [
        (f"`{preset.id}`", preset.display_name, _address(preset), _credentials(preset), " ".join(preset.notes))
        for preset in presets()
    ]
    return _table(("`service`", "provider", "server", "login", "to know"), rows)


def _services() -> str:
    known = {preset.id for preset in presets()}
    others = (f"`{name}`" for name in service_names() if name not in known and "." not in name and "-" not in name)
    return ", ".join(sorted(others)) + ".\n"


def _options() -> str:
    rows = [
        (f"`{_PREFIXES[shape]}{name}`", "error" if option.is_refused else "warning", option.why, option.instead)
        for shape, options in UNUSED.items()
        if shape in _PREFIXES
        for name, option in options.items()
        if name != "file"
    ]
    return _table(("option", "finding", "why", "instead"), rows)


_TABLES: Final[dict[str, Callable[[], str]]] = {
    "keys": _keys,
    "auth": lambda: _members("auth"),
    "templates": lambda: _members("templates"),
    "tls": lambda: _members("tls"),
    "dsn": lambda: _members("dsn"),
    "otp": lambda: _members("otp"),
    "dkim": lambda: _members("dkim"),
    "providers": _providers,
    "services": _services,
    "options": _options,
}


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = tuple(heads)
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def _kind(key: Key) -> str:
    kind = {"Json": "JSON", "Select": "one of a list", None: "older form" if key.deprecated else "Switch"}
    return kind.get(key.form, key.form or "") + (", required" if key.required else "")


def _default(key: Key) -> str:
    is_short = isinstance(key.default, (bool, int)) and not key.required
    return f"`{str(example_value(key, key.default)).lower()}`" if is_short else ""


def _address(preset: Preset) -> str:
    ports = ", ".join(map(str, preset.other_ports))
    others = f" (also {ports})" if ports else ""
    host = f"`{preset.host}`" if preset.host else "your own"
    return f"{host}, port {preset.port}{others}"


def _credentials(preset: Preset) -> str:
    names = {"none": "none", "login": f"user `{preset.user}`" if preset.user else "login", "oauth2": "OAuth 2.0"}
    return ", ".join(names[kind.value] for kind in preset.auth_kinds)
