"""Who may decide about other callers' messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpconnector_server.failure import Failure, Reason
from smtpconnector_server.rpc.callers import ANYBODY, Callers, Principal, read_callers

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
[principals.shop]
certificate_names = ["shop.internal"]

[principals.admin]
certificate_names = ["admin.internal"]
operator = true
"""


def identified(callers: Callers, name: str) -> Principal:
    return callers.identify((), {"x509_subject_alternative_name": [name.encode()]})


def test_an_operator_is_who_the_file_calls_one(tmp_path: Path) -> None:
    (tmp_path / "callers.toml").write_text(FILE, encoding="utf-8")
    callers = read_callers(tmp_path / "callers.toml")
    identified(callers, "admin.internal").require_operator()
    with pytest.raises(Failure) as refused:
        identified(callers, "shop.internal").require_operator()
    assert refused.value.reason is Reason.PERMISSION_DENIED
    assert "operator = true" in refused.value.message


def test_a_certificate_that_is_enough_to_call_makes_no_operator() -> None:
    assert not identified(Callers(any_certificate=True), "shop.internal").operator


def test_everybody_is_one_where_nobody_is_asked_who_he_is() -> None:
    ANYBODY.require_operator()
