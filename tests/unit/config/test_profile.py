from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from harness.certificates import ca_pem
from harness.configuration import document, errors, the_finding
from harness.documents import plain_templates
from smtpconnector_server.config.model import LoginAuth
from smtpconnector_server.config.profile import load_profile
from smtpconnector_server.config.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from smtpconnector_server.config.checked import Checked
    from smtpconnector_server.config.model import Connector


def load(folder: Path, changes: dict[str, Any] | str, **environ: str) -> Checked:
    file = folder / "profile.json"
    file.write_text(changes if isinstance(changes, str) else json.dumps(document(**changes)), encoding="utf-8")
    return load_profile(file, environ).checked


def loaded(folder: Path, changes: dict[str, Any], **environ: str) -> Connector:
    checked = load(folder, changes, **environ)
    assert checked.connector is not None, checked.findings
    return checked.connector


def test_a_good_file_becomes_a_configuration(tmp_path: Path) -> None:
    assert loaded(tmp_path, {}).server.host == "smtp.example.com"


class TestVariables:
    def test_stand_for_a_whole_value_or_a_part_of_it(self, tmp_path: Path) -> None:
        changes = {
            "host": "smtp.${REGION}.example.com",
            "port": "${PORT}",
            "auth": {"user": "u", "pass": "${PASSWORD}"},
        }
        server = loaded(tmp_path, changes, REGION="eu", PORT="465", PASSWORD="a$b${c}").server
        assert (server.host, server.port) == ("smtp.eu.example.com", 465)
        assert server.auth == LoginAuth(user="u", password=Secret("a$b${c}"))

    def test_can_be_escaped(self, tmp_path: Path) -> None:
        templates = [{**plain_templates()[0], "content": "$${name} {{code}} $5 ${not-a-name}"}, *plain_templates()[1:]]
        content = loaded(tmp_path, {"templates": templates}).templates[0].content
        assert content == "${name} {{code}} $5 ${not-a-name}"

    def test_that_are_not_set_are_told_with_the_field(self, tmp_path: Path) -> None:
        checked = load(tmp_path, {"auth": {"user": "${MAIL_USER}", "pass": "${MAIL_PASSWORD}"}})
        assert errors(checked) == [("auth.user", "MISSING_VARIABLE"), ("auth.pass", "MISSING_VARIABLE")]
        assert "MAIL_USER" in the_finding(checked, "auth.user").message

    def test_may_be_empty(self, tmp_path: Path) -> None:
        assert loaded(tmp_path, {"replyTo": "${REPLY_TO}"}, REPLY_TO="").reply_to == ()

    def test_are_not_looked_for_in_what_they_stand_for(self, tmp_path: Path) -> None:
        auth = loaded(tmp_path, {"auth": {"user": "u", "pass": "${A}"}}, A="${B}", B="no").server.auth
        assert auth == LoginAuth(user="u", password=Secret("${B}"))


class TestFiles:
    def test_stand_for_a_value(self, tmp_path: Path) -> None:
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets/password").write_text("hunter\r\n", encoding="utf-8")
        auth = loaded(tmp_path, {"auth": {"user": "u", "pass": {"file": "secrets/password"}}}).server.auth
        assert auth == LoginAuth(user="u", password=Secret("hunter"))

    def test_may_have_an_absolute_path_and_several_lines(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_text(ca_pem(), encoding="utf-8")
        assert (
            loaded(tmp_path, {"tls": {"ca": [{"file": str(tmp_path / "ca.pem")}]}}).server.tls.ca_pem
            == ca_pem().strip()
        )

    @pytest.mark.parametrize("name", ["nothing", ".", "a\x00b", "huge", "latin1"])
    def test_that_cannot_be_read_are_told_with_the_field(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "huge").write_bytes(b"x" * (1024 * 1024 + 1))
        (tmp_path / "latin1").write_bytes(b"\xe4")
        checked = load(tmp_path, {"auth": {"user": "u", "pass": {"file": name}}})
        assert errors(checked) == [("auth.pass", "MISSING_FILE")]

    def test_among_headers_are_headers(self, tmp_path: Path) -> None:
        assert loaded(tmp_path, {"customHeaders": {"file": "x"}}).custom_headers == (("file", "x"),)


class TestJson:
    @pytest.mark.parametrize(
        ("text", "slip"),
        [
            ('{"host": "a", // the server\n}', "no comments"),
            ('{"host": "a",\n# the server\n"port": 1}', "no comments"),
            ('{"host": "a", "port": 1,\n}', "comma after the last item"),
            ('{"templates": [1, 2,]}', "comma after the last item"),
            ("{'host': 'a'}", "double quotes"),
            ("{\u201chost\u201d: 1}", "typographic quotes"),
            ('{"secure": True}', "true, false and null"),
            ('{"host": "a"', "ends too early"),
            ('{"port": NaN}', "no number NaN"),
            ('{"host": "a", "host": "b"}', '"host" twice'),
            ("[" * 100_000, "too deep"),
            ('{"port": ' + "9" * 5000 + "}", "too many digits"),
        ],
    )
    def test_slips_are_told_by_their_name(self, tmp_path: Path, text: str, slip: str) -> None:
        checked = load(tmp_path, text)
        assert errors(checked) == [("", "INVALID_JSON")]
        assert slip in checked.findings[0].message

    def test_faults_are_told_with_their_place(self, tmp_path: Path) -> None:
        checked = load(tmp_path, '{\n  "host": "a"\n  "port": 1\n}')
        assert "line 3, column 3" in checked.findings[0].message

    def test_a_byte_order_mark_is_no_fault(self, tmp_path: Path) -> None:
        assert load(tmp_path, "\ufeff" + json.dumps(document())).connector is not None


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    assert errors(load_profile(tmp_path / "nothing.json").checked) == [("", "FILE_NOT_READABLE")]
    assert errors(load_profile(tmp_path).checked) == [("", "FILE_NOT_READABLE")]


def test_the_environment_is_that_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_HOST_OF_THIS_TEST", "env.example.com")
    (tmp_path / "p.json").write_text(json.dumps(document(host="${SMTP_HOST_OF_THIS_TEST}")), encoding="utf-8")
    connector = load_profile(tmp_path / "p.json").checked.connector
    assert connector is not None
    assert connector.server.host == "env.example.com"
