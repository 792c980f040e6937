"""What goes into the store encrypted comes out only with its keys, under its own id, and its hashes stay."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpconnector_server.store.keyring import Keyring, KeyringError, UnsealError, fresh_key
from smtpconnector_server.store.sealing import Sealer, open_sealer

if TYPE_CHECKING:
    from smtpconnector_server.store.store import Store

OLD = f"old{fresh_key()[17:]}"
NEW = f"new{fresh_key()[17:]}"
CONTENT = b"To: ada@example.com\r\n\r\nYour code is 246810."


def keyring(*lines: str) -> Keyring:
    return Keyring.parse("\n".join(lines), "the test")


def sealer(*lines: str) -> Sealer:
    return Sealer(keyring(*lines), bytes(32))


class Constants:
    """The part of a store that keeps its constants."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def keep(self, name: str, value: bytes, *, instead_of: bytes | None = None) -> bytes:
        if self.values.setdefault(name, value) == instead_of:
            self.values[name] = value
        return self.values[name]

    @property
    def as_store(self) -> Store:
        return cast("Store", self)


def test_content_comes_out_as_it_went_in() -> None:
    assert sealer(OLD).open("a", sealer(OLD).seal("a", CONTENT)) == CONTENT


def test_nothing_of_the_content_is_in_what_is_stored_or_shown() -> None:
    sealed = sealer(OLD).seal("a", CONTENT)

    assert CONTENT[4:10] not in sealed.content
    assert repr(sealed) == "Sealed(key_id='old')"


def test_the_same_content_is_never_sealed_the_same() -> None:
    first, second = (sealer(OLD).seal("a", CONTENT) for _ in range(2))

    assert first.content != second.content
    assert first.wrapped_key != second.wrapped_key


def test_content_is_bound_to_its_message() -> None:
    with pytest.raises(UnsealError, match="another message's"):
        sealer(OLD).open("b", sealer(OLD).seal("a", CONTENT))


@pytest.mark.parametrize("part", ["wrapped_key", "content"])
def test_one_changed_bit_is_found(part: str) -> None:
    sealed = sealer(OLD).seal("a", CONTENT)
    octets = bytearray(getattr(sealed, part))
    octets[3] ^= 1

    with pytest.raises(UnsealError):
        sealer(OLD).open("a", replace(sealed, **{part: bytes(octets)}))


def test_content_without_its_key_does_not_open() -> None:
    sealed = sealer(OLD).seal("a", CONTENT)

    with pytest.raises(UnsealError):
        sealer(OLD).open("a", replace(sealed, wrapped_key=b""))
    with pytest.raises(UnsealError):
        sealer(OLD).open("a", replace(sealed, content=b""))


def test_a_new_master_key_seals_and_the_old_one_still_opens() -> None:
    before = sealer(OLD).seal("a", CONTENT)
    after = sealer(NEW, OLD).seal("a", CONTENT)

    assert after.key_id == "new"
    assert sealer(NEW, OLD).open("a", before) == CONTENT
    with pytest.raises(UnsealError, match="'old' is not among"):
        sealer(NEW).open("a", before)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text()), st.lists(st.text()))
def test_hashes_are_equal_where_the_parts_are(one: list[str], other: list[str]) -> None:
    hashing = sealer(OLD)

    assert (hashing.hash("request", *one) == hashing.hash("request", *other)) is (one == other)


def test_hashes_of_other_purposes_and_other_stores_differ() -> None:
    assert sealer(OLD).hash("request", "a") != sealer(OLD).hash("recipient", "a")
    assert sealer(OLD).hash("request", "a") != Sealer(keyring(OLD), bytes([1] * 32)).hash("request", "a")
    assert sealer(OLD).hash("request", "a") == sealer(OLD).hash("request", b"a")


async def test_servers_of_one_store_hash_alike_and_another_store_otherwise() -> None:
    store = Constants()
    first = await open_sealer(store.as_store, keyring(OLD))
    second = await open_sealer(store.as_store, keyring(OLD))
    stranger = await open_sealer(Constants().as_store, keyring(OLD))

    assert first.hash("request", "a") == second.hash("request", "a")
    assert first.hash("request", "a") != stranger.hash("request", "a")


async def test_hashes_survive_a_change_of_the_master_key() -> None:
    store = Constants()
    before = await open_sealer(store.as_store, keyring(OLD))
    await open_sealer(store.as_store, keyring(NEW, OLD))
    after = await open_sealer(store.as_store, keyring(NEW))

    assert before.hash("request", "a") == after.hash("request", "a")


async def test_a_key_that_is_not_active_yet_changes_nothing_in_the_store() -> None:
    store = Constants()
    await open_sealer(store.as_store, keyring(OLD))
    kept = dict(store.values)
    await open_sealer(store.as_store, keyring(OLD, NEW))

    assert store.values == kept


@pytest.mark.parametrize("lines", [(NEW,), (OLD[:3] + NEW[3:],)])
async def test_the_key_of_another_store_is_refused(lines: tuple[str, ...]) -> None:
    store = Constants()
    await open_sealer(store.as_store, keyring(OLD))

    with pytest.raises(KeyringError, match="made under another key") as caught:
        await open_sealer(store.as_store, keyring(*lines))

    assert "'old'" in str(caught.value)


async def test_the_key_of_the_hashes_is_not_in_the_store_in_the_clear() -> None:
    store = Constants()
    await open_sealer(store.as_store, keyring(OLD))

    ((_, kept),) = store.values.items()
    assert kept.startswith(b"old:")
    assert len(kept) == len("old:") + 56, "40 octets: 32 of the key, 8 of its check"
