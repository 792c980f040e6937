"""Privacy at rest: what names a person goes into the store encrypted, and what must be found again as a keyed hash.

Each message has a key of its own, used once: with it gone the content is gone, in every copy of the store. The hashes'
key is one random constant for each store, kept there under a master key, so that changing master keys changes no hash.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from smtpconnector_server.store.keyring import KEY_OCTETS, Keyring, KeyringError, UnsealError
from smtpconnector_server.store.record import Sealed

if TYPE_CHECKING:
    from smtpconnector_server.store.store import Store

HASH_OCTETS: Final = 32
_HASH_KEY_NAME: Final = "hash-key"
_NONCE: Final = bytes(12)  # each data key encrypts one content


class Sealer:
    """Encrypts, decrypts and hashes what goes into one store.

    Args:
        keyring: The master keys.
        hash_key: The store's own.
    """

    __slots__ = ("_hash_key", "_keyring")

    def __init__(self, keyring: Keyring, hash_key: bytes) -> None:
        self._keyring = keyring
        self._hash_key = hash_key

    def seal(self, delivery_id: str, content: bytes) -> Sealed:
        """Encrypt a message's content so that it opens under this id only."""
        key_id = self._keyring.active_id
        key = secrets.token_bytes(KEY_OCTETS)
        return Sealed(
            key_id=key_id,
            wrapped_key=self._keyring.wrap(key),
            content=AESGCM(key).encrypt(_NONCE, content, _joined(delivery_id, key_id)),
        )

    def open(self, delivery_id: str, sealed: Sealed) -> bytes:
        """Decrypt a message's content.

        Raises:
            UnsealError: Its master key is not here, or it is damaged or belongs to another message.
        """
        key = self._keyring.unwrap(sealed.key_id, sealed.wrapped_key)
        try:
            return AESGCM(key).decrypt(_NONCE, sealed.content, _joined(delivery_id, sealed.key_id))
        except (InvalidTag, ValueError):
            raise UnsealError("the content is damaged, or it is another message's") from None

    def hash(self, purpose: str, *parts: str | bytes) -> bytes:
        """Return what stands for a value in the store: the same value gives the same, and only there.

        Args:
            purpose: Equal values of different purposes have different hashes.
            parts: The value; their bounds count.
        """
        return hashlib.blake2b(_joined(purpose, *parts), key=self._hash_key, digest_size=HASH_OCTETS).digest()


async def open_sealer(store: Store, keyring: Keyring) -> Sealer:
    """Return the sealer of a store; make its hash key if it is new, and wrap it anew if the active key has changed.

    Raises:
        KeyringError: The store was made under a key that is not given.
        StoreError: The store could not be asked.
    """
    kept = await store.keep(_HASH_KEY_NAME, _enclosed(keyring, secrets.token_bytes(KEY_OCTETS)))
    key_id, _, wrapped = kept.decode("ascii").partition(":")
    try:
        hash_key = keyring.unwrap(key_id, b64decode(wrapped))
    except (UnsealError, ValueError) as error:
        raise KeyringError(
            f"this store was made under another key ({error}): give the one that belongs to it, below the new one"
        ) from None
    if key_id != keyring.active_id:
        await store.keep(_HASH_KEY_NAME, _enclosed(keyring, hash_key), instead_of=kept)
    return Sealer(keyring, hash_key)


def _enclosed(keyring: Keyring, key: bytes) -> bytes:
    return f"{keyring.active_id}:{b64encode(keyring.wrap(key)).decode()}".encode("ascii")


def _joined(*parts: str | bytes) -> bytes:
    """Join parts so that no two lists of them give the same octets."""
    octets = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"".join(len(part).to_bytes(8, "big") + part for part in octets)
