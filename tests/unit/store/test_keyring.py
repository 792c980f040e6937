"""The master keys of a store: where they come from, and what is said when they cannot be used."""

from __future__ import annotations

import multiprocessing
import re
import secrets
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from smtpconnector_server.cli import main
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.store.keyring import (
    Keyring,
    KeyringError,
    UnsealError,
    fresh_key,
    given_keys,
    holds_keys,
    kept_keys,
)

if TYPE_CHECKING:
    from pathlib import Path

KEY = b64encode(bytes(range(32))).decode()
OTHER = b64encode(bytes(range(1, 33))).decode()


def line_of(key: str = KEY, name: str = "one") -> str:
    return f"{name}:{key}\n"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(f"# the new one\n{line_of()}\n  # the old one\n{line_of(OTHER, 'two')}")
    file.chmod(0o600)
    return file


def test_the_first_line_of_the_file_is_the_active_key(key_file: Path) -> None:
    keyring = given_keys(key_file)

    assert keyring.active_id == "one"
    assert "two" in keyring
    assert "three" not in keyring


def test_keys_may_come_as_the_text_of_a_secret() -> None:
    assert given_keys(Secret(f"{line_of()}{line_of(OTHER, 'two')}")).active_id == "one"


@pytest.mark.parametrize(
    "text",
    [
        KEY,  # no id
        f"one:{KEY[:-4]}",  # too short
        f"one:{KEY} # mine",
        f"o ne:{KEY}",
        f"{'x' * 65}:{KEY}",
        f"one:{KEY[:-1]}",  # without its padding
        f"one:{KEY.replace('A', '-')}",  # base64url
        f"é:{KEY}",
    ],
)
def test_an_error_names_the_line_and_never_the_key(text: str) -> None:
    with pytest.raises(KeyringError, match=r"line 2 of the file is no key.*store-key") as caught:
        Keyring.parse(f"{line_of(OTHER)}{text}\n", "the file")

    assert KEY[4:20] not in str(caught.value)


def test_two_keys_may_not_have_one_id() -> None:
    with pytest.raises(KeyringError, match="line 3 of the file has the id of a line above"):
        Keyring.parse(f"{line_of()}\n{line_of(OTHER)}", "the file")


def test_a_file_without_a_key_tells_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# none yet\n")

    with pytest.raises(KeyringError, match="smtpconnector store-key"):
        given_keys(tmp_path / "keys")


def test_a_file_that_is_not_there_or_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "long").write_text("#" * 100_000)

    for name in ("absent", "binary", "long"):
        with pytest.raises(KeyringError, match=re.escape(str(tmp_path / name))):
            given_keys(tmp_path / name)


def test_a_file_that_others_can_read_is_warned_of(key_file: Path) -> None:
    key_file.chmod(0o644)

    with capture_logs() as lines:
        given_keys(key_file)

    assert lines == [
        {"event": "store_key_exposed", "log_level": "warning", "file": str(key_file), "mode": "0644"},
    ]


def test_no_repr_shows_a_key() -> None:
    assert repr(Keyring.parse(line_of(), "the file")) == "Keyring(one)"


def test_a_wrapped_key_opens_under_its_own_master_key_only() -> None:
    keyring = Keyring.parse(f"{line_of()}{line_of(OTHER, 'two')}", "the file")
    key = secrets.token_bytes(32)
    wrapped = keyring.wrap(key)

    assert key not in wrapped
    assert keyring.unwrap("one", wrapped) == key
    with pytest.raises(UnsealError, match="'two' does not open"):
        keyring.unwrap("two", wrapped)
    with pytest.raises(UnsealError, match="'three' is not among"):
        keyring.unwrap("three", wrapped)
    with pytest.raises(UnsealError):
        keyring.unwrap("one", wrapped[:-1])


def test_a_fresh_key_is_a_line_that_can_be_read_and_never_the_same() -> None:
    first, second = fresh_key(), fresh_key()

    assert first != second
    assert Keyring.parse(first, "the line").active_id == first.partition(":")[0]


def test_the_command_line_prints_a_fresh_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store-key"]) == 0
    assert holds_keys(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("text", "is_keys"),
    [
        (line_of(), True),
        (f"# mine\n{line_of()}", True),
        ("/etc/smtpconnector/store.key", False),
        ("C:/store.key", False),
        ("", False),
    ],
)
def test_a_setting_tells_keys_from_a_file(text: str, *, is_keys: bool) -> None:
    assert holds_keys(text) is is_keys


def test_a_store_on_disk_gets_a_key_file_for_its_owner_alone(tmp_path: Path) -> None:
    store = tmp_path / "mails.db"

    made = kept_keys(store)

    file = tmp_path / "mails.db.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert kept_keys(store).active_id == made.active_id
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name], "nothing else stays"


def test_a_key_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match=r"cannot make .*mails\.db\.key: No such file"):
        kept_keys(tmp_path / "absent" / "mails.db")


def _active_id(store: Path) -> str:
    return kept_keys(store).active_id


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("forkserver").Pool(4) as pool:
        ids = pool.map(_active_id, [tmp_path / "mails.db"] * 16, chunksize=1)

    assert len(set(ids)) == 1
