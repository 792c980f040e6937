"""Profiles: configurations that the server holds, read from files.

The one module of this room that touches the machine: it reads the profile, the environment variables that a value
names as ``${NAME}`` and the files that it names as ``{"file": "path"}``. Only an operator's file may do that.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.checked import Checked
from smtpconnector_server.config.document import check_document, findings_in_order
from smtpconnector_server.config.intake import MOST_OCTETS
from smtpconnector_server.config.json_text import JsonTextError, parse_json
from smtpconnector_server.config.origin import Origin
from smtpconnector_server.config.path import child

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from smtpconnector_server.config.finding import Findings
    from smtpconnector_server.config.intake import Json

_REFERENCE: Final = re.compile(r"(?P<escaped>\$\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}")
_HEADERS_KEY: Final = "customHeaders"


@dataclass(frozen=True, slots=True)
class Profile:
    """A configuration that the server holds."""

    checked: Checked


def load_profile(file: Path, environ: Mapping[str, str] = os.environ) -> Profile:
    """Read a profile. Whatever is wrong with the file is a finding.

    Args:
        file: The JSON document.
        environ: The environment variables.
    """
    findings = findings_in_order()
    try:
        document = parse_json(_read_text(file))
    except _FileError as error:
        findings.error("", "FILE_NOT_READABLE", f"The profile {error}.")
        return Profile(Checked(None, findings.report()))
    except JsonTextError as error:
        findings.error("", "INVALID_JSON", str(error), error.hint)
        return Profile(Checked(None, findings.report()))
    references = _References(file.parent, environ, findings)
    resolved = references.resolve(document, "")
    return Profile(check_document(resolved, Origin.PROFILE, findings, references.spoilt))


class _FileError(Exception):
    """A file that cannot be read; the text says why and completes a sentence."""


class _References:
    """Puts variables and files in the place of what names them."""

    def __init__(self, folder: Path, environ: Mapping[str, str], findings: Findings) -> None:
        self._folder = folder
        self._environ = environ
        self._findings = findings
        self.spoilt: set[str] = set()

    def resolve(self, value: Json, path: str) -> Json:
        if isinstance(value, str):
            return self._variables(value, path)
        if isinstance(value, list):
            # An empty text in place of None: the items of a list have no absence.
            items = [self.resolve(item, child(path, index)) for index, item in enumerate(value)]
            return ["" if item is None and value[index] is not None else item for index, item in enumerate(items)]
        if not isinstance(value, dict):
            return value
        name = value.get("file")
        if value.keys() == {"file"} and isinstance(name, str) and path not in ("", _HEADERS_KEY):
            return self._file(name, path)
        return {key: self.resolve(item, child(path, key)) for key, item in value.items()}

    def _variables(self, text: str, path: str) -> str | None:
        missing = []

        def put_in(match: re.Match[str]) -> str:
            name = match["name"]
            if name is None:
                return "${"
            if name not in self._environ:
                missing.append(name)
            return self._environ.get(name, "")

        resolved = _REFERENCE.sub(put_in, text)
        if not missing:
            return resolved
        for name in missing:
            self._findings.error(
                path,
                "MISSING_VARIABLE",
                f"{path} needs the environment variable {name}, which is not set.",
                f"Set {name} where the server starts; $${{ stands for ${{ itself.",
            )
        self.spoilt.add(path)
        return None

    def _file(self, name: str, path: str) -> str | None:
        try:
            text = _read_text(self._folder / name)
        except _FileError as error:
            self._findings.error(
                path,
                "MISSING_FILE",
                f"The file that {path} names {error}.",
                "A relative path begins at the profile's folder.",
            )
            self.spoilt.add(path)
            return None
        return text.removesuffix("\n").removesuffix("\r")


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            octets = stream.read(MOST_OCTETS + 1)
    except FileNotFoundError:
        raise _FileError("does not exist") from None
    except OSError as error:
        raise _FileError(f"cannot be read ({error.strerror})") from None
    except ValueError:  # a NUL in the name
        raise _FileError("has no valid name") from None
    if len(octets) > MOST_OCTETS:
        raise _FileError(f"is larger than {MOST_OCTETS // 1024} KiB")
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _FileError("is not UTF-8 text") from None
