"""The master keys that everything at rest in a store is encrypted under, from a file or the environment.

A key is 32 random octets under an id. The first of a ring encrypts what is new; all of them open what is there. No
octet of a key is ever part of an error, a repr or a log line.

To change keys without an interruption: append the new line to the file of every server and restart them; move it to the
top and restart them; remove the old line when everything that it sealed has expired.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from base64 import b64decode, b64encode
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpconnector_server.config.secret import Secret

KEY_OCTETS: Final = 32
_LINE: Final = re.compile(r"(?P<id>[A-Za-z0-9._-]{1,64}):(?P<key>[A-Za-z0-9+/]{43}=)", re.ASCII)
_MAX_FILE_OCTETS: Final = 65_536
_OPEN_TO_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OWN: Final = 0o600

_log = structlog.get_logger()


class KeyringError(ValueError):
    """The store's keys cannot be used; the text is for the operator and says what to do."""


class UnsealError(Exception):
    """What is encrypted cannot be opened; the text says whether its key is missing or it is damaged."""


class Keyring:
    """Master keys.

    Args:
        keys: By id.
        active_id: Which one encrypts what is new.
    """

    __slots__ = ("_keys", "active_id")

    def __init__(self, keys: Mapping[str, bytes], active_id: str) -> None:
        self._keys = dict(keys)
        self.active_id = active_id

    @classmethod
    def parse(cls, text: str, origin: str) -> Keyring:
        """Read keys, one ``ID:BASE64`` a line.

        Args:
            text: The lines; empty ones and those that begin with ``#`` do not count.
            origin: Where they come from, for errors.

        Raises:
            KeyringError: A line is no key, an id is there twice, or there is no key.
        """
        keys: dict[str, bytes] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None:
                raise KeyringError(
                    f"line {number} of {origin} is no key: a key is ID:BASE64, 32 octets in base64; "
                    "`smtpconnector store-key` prints a new one"
                )
            if match["id"] in keys:
                raise KeyringError(f"line {number} of {origin} has the id of a line above: each key needs its own")
            keys[match["id"]] = b64decode(match["key"])
        if not keys:
            raise KeyringError(f"{origin} holds no key: `smtpconnector store-key` prints a new one")
        return cls(keys, next(iter(keys)))

    def __contains__(self, key_id: str) -> bool:
        return key_id in self._keys

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._keys)})"

    def wrap(self, key: bytes) -> bytes:
        """Encrypt a random key under the active master key (RFC 3394: no nonce, so no limit on how often)."""
        return aes_key_wrap(self._keys[self.active_id], key)

    def unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        """Decrypt a key.

        Raises:
            UnsealError: The master key is not here, or it is another one, or the wrapped key is damaged.
        """
        if key_id not in self._keys:
            raise UnsealError(f"the store key {key_id!r} is not among those given")
        try:
            return aes_key_unwrap(self._keys[key_id], wrapped)
        except (InvalidUnwrap, ValueError):
            raise UnsealError(f"the store key {key_id!r} does not open what carries its id") from None


def fresh_key() -> str:
    """Return the line of a new key."""
    key_id = f"{time.strftime('%Y%m%d', time.gmtime())}-{secrets.token_hex(4)}"
    return f"{key_id}:{b64encode(secrets.token_bytes(KEY_OCTETS)).decode()}"


def holds_keys(text: str) -> bool:
    """Return whether a setting's text is keys themselves rather than the name of their file."""
    lines = (line.strip() for line in text.splitlines())
    return any(_LINE.fullmatch(line) for line in lines)


def given_keys(given: Path | Secret) -> Keyring:
    """Read keys from a file, or from the text of a secret setting.

    Raises:
        KeyringError: They cannot be used.
    """
    if isinstance(given, Path):
        return _read(given)
    return Keyring.parse(given.reveal(), "the store key in the environment")


def kept_keys(store: Path) -> Keyring:
    """Read the keys of the file that lies beside a store on this machine's disk; make it if there is none.

    However many processes start at once, one file is made and all of them read it.

    Raises:
        KeyringError: They cannot be used, or the file cannot be made.
    """
    file = store.with_name(f"{store.name}.key")
    if not file.exists():
        try:
            _make(file)
        except OSError as error:
            raise KeyringError(f"cannot make the store's key file {file}: {error.strerror}") from None
    return _read(file)


def _read(file: Path) -> Keyring:
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            octets = opened.read(_MAX_FILE_OCTETS + 1)
        text = octets.decode("ascii")
    except OSError as error:
        raise KeyringError(f"cannot read the store's key file {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise KeyringError(f"the store's key file {file} is no text of keys, one ID:BASE64 a line") from None
    if len(octets) > _MAX_FILE_OCTETS:
        raise KeyringError(f"the store's key file {file} is longer than {_MAX_FILE_OCTETS} octets")
    if mode & _OPEN_TO_OTHERS:
        _log.warning("store_key_exposed", file=str(file), mode=f"{stat.S_IMODE(mode):04o}")
    return Keyring.parse(text, f"the store's key file {file}")


def _make(file: Path) -> None:
    """Make a key file whose whole content appears at once, and durably: without it the store is lost."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWN)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(
                f"# Whoever has this file can read the store beside it; without it nobody can.\n{fresh_key()}\n"
            )
            opened.flush()
            os.fsync(opened.fileno())
        with suppress(FileExistsError):  # another process was first: its file is the one
            os.link(draft, file)
    finally:
        draft.unlink()
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
