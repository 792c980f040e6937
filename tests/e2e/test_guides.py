"""What the guides tell is true: their configurations, their commands, and the outputs that they show."""

from __future__ import annotations

import functools
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from smtpconnector_server.cli import build_parser
from smtpconnector_server.config.finding import Severity
from smtpconnector_server.config.profile import load_profile
from smtpconnector_server.delivery.diagnosis import diagnose
from smtpconnector_server.failure import Failure, Stage
from smtpconnector_server.settings import load_settings
from smtpconnector_server.smtp.course import Depth, plan
from smtpconnector_server.smtp.probe import Report
from smtpconnector_server.smtp.refusal import refusal
from smtpconnector_server.smtp.reply import Reply
from smtpconnector_server.smtp.token_response import HttpAnswer, read_answer

if TYPE_CHECKING:
    import argparse

    from smtpconnector_server.config.checked import Checked

ENGLISH = Path(__file__).parent.parent.parent / "docs" / "guides"
CHINESE = ENGLISH / "zh-CN"
PAGES = [*sorted(ENGLISH.glob("*.md")), *sorted(CHINESE.glob("*.md"))]

_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"`([\w-]+\.json)`")
_COMMAND = re.compile(r"^(smtpconnector .+)$|`(smtpconnector [^`]+)`", re.MULTILINE)
_BLANK = re.compile(r"<([a-z0-9-]+)>")
_WORDS_OF_MAILS = ("subject", "content")
"""Each language has its own."""


@dataclass(frozen=True)
class Configuration:
    """A configuration that a page shows."""

    name: str
    text: str

    def load(self, folder: Path) -> Checked:
        """Read it as ``serve --profile`` would, with every blank, variable and file filled in."""
        for name in re.findall(r'\{ "file": "([^"]+)" \}', self.text):
            (folder / name).write_text(private_key() if name.endswith(".pem") else "secret-1\n", encoding="ascii")
        file = folder / self.name
        file.write_text(_BLANK.sub(value_of, self.text), encoding="utf-8")
        return load_profile(file, dict.fromkeys(re.findall(r"\$\{(\w+)\}", self.text), "secret-1")).checked


@dataclass(frozen=True)
class Output:
    """What a page shows of a live check."""

    configuration: Configuration
    depth: Depth
    title: str
    text: str

    @property
    def steps(self) -> list[tuple[str, str, str]]:
        """Status, name and detail of each step that is shown."""
        return re.findall(r"^  (passed|failed|skipped) +([A-Z]+)(?: +\d+ ms)? +(.*)$", self.text, re.MULTILINE)


def value_of(blank: re.Match[str]) -> str:
    if "address" in blank[1]:
        return "ada@example.com"
    return {"mail-host": "mail.example.com", "region": "eu-west-1"}.get(blank[1], "value-1")


@functools.cache
def private_key() -> str:
    key = generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def blocks(page: Path, *languages: str) -> list[str]:
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [block["text"] for block in found if block["language"] in languages]


def configurations(page: Path) -> list[Configuration]:
    text = page.read_text(encoding="utf-8")
    found = [block for block in _BLOCK.finditer(text) if block["language"] == "json"]
    return [Configuration(_FILE_NAME.findall(text, 0, block.start())[-1], block["text"]) for block in found]


def commands(page: Path) -> list[str]:
    return [" ".join((line or inline).split()) for line, inline in _COMMAND.findall(page.read_text(encoding="utf-8"))]


def outputs(page: Path) -> list[Output]:
    by_name = {configuration.name: configuration for configuration in configurations(page)}
    depth = Depth.SCHEMA
    found = []
    for block in blocks(page, "sh", "text"):
        if command := re.match(r"smtpconnector check-config .*--depth (\w+)", block):
            depth = Depth[command[1].upper()]
        title = block.partition("\n")[0]
        configuration = by_name.get(title.partition(":")[0])
        if configuration is not None:
            found.append(Output(configuration, depth, title, block))
    return found


def parameters(of_page: Any, pages: list[Path] = PAGES) -> list[Any]:
    return [
        pytest.param(item, id=f"{page.relative_to(ENGLISH)}-{number}")
        for page in pages
        for number, item in enumerate(of_page(page), 1)
    ]


def test_there_is_something_to_test() -> None:
    assert len(parameters(configurations)) >= 20
    assert len(parameters(outputs)) >= 28
    assert len(parameters(commands)) >= 50


@pytest.mark.parametrize("configuration", parameters(configurations))
def test_a_configuration_only_needs_the_accounts_values(configuration: Configuration, tmp_path: Path) -> None:
    findings = configuration.load(tmp_path).findings
    assert [finding for finding in findings if finding.severity <= Severity.WARNING] == []


@pytest.mark.parametrize("page", sorted(ENGLISH.glob("*.md")), ids=lambda page: page.name)
def test_both_languages_show_the_same(page: Path) -> None:
    def without_words(configuration: Configuration) -> Any:
        document = json.loads(configuration.text)
        for template in document["templates"]:
            for key in _WORDS_OF_MAILS:
                del template[key]
        return configuration.name, document

    other = CHINESE / page.name
    assert [*map(without_words, configurations(other))] == [*map(without_words, configurations(page))]
    assert blocks(other, "sh", "text", "ini", "powershell") == blocks(page, "sh", "text", "ini", "powershell")
    headings = [re.findall(r"^#+ ", text.read_text(encoding="utf-8"), re.MULTILINE) for text in (page, other)]
    assert headings[0] == headings[1]


def test_there_are_as_many_pages_in_chinese() -> None:
    assert {page.name for page in CHINESE.glob("*.md")} == {page.name for page in ENGLISH.glob("*.md")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ENGLISH)))
def test_every_command_line_is_one(page: Path) -> None:
    names = {configuration.name for configuration in configurations(page)}
    for command in commands(page):
        arguments = parse(command)
        flags = {name: value for name, value in vars(arguments).items() if name not in {"run", "settings"}}
        if command.startswith("smtpconnector serve"):
            load_settings(flags)
        for file in (flags.get("file"), flags.get("config")):
            assert file is None or str(file) in {"FILE", *names}, command


def parse(command: str) -> argparse.Namespace:
    try:
        return build_parser().parse_args(shlex.split(command)[1:])
    except SystemExit:
        return pytest.fail(f"not a command line: {command}")


@pytest.mark.parametrize("output", parameters(outputs))
def test_an_output_has_the_steps_that_the_check_has(output: Output, tmp_path: Path) -> None:
    connector = output.configuration.load(tmp_path).connector
    assert connector is not None
    server = connector.server
    assert output.title == f"{output.configuration.name}: {server.host}:{server.port}, {server.tls_mode.value}"
    names = [name for _, name, _ in output.steps]
    expected = ["SCHEMA", *(stage.value for stage in plan(server, output.depth))]
    is_whole = "  …" not in output.text.splitlines()
    assert names == (expected if is_whole else expected[-len(names) :])


@pytest.mark.parametrize("output", [case for case in parameters(outputs) if "  failed" in case.values[0].text])
def test_an_output_of_a_failure_says_what_the_check_says(output: Output, tmp_path: Path) -> None:
    [(name, detail)] = [(name, detail) for status, name, detail in output.steps if status == "failed"]
    connector = output.configuration.load(tmp_path).connector
    assert connector is not None
    failure = failure_of(Stage[name], detail, connector.server.host)
    assert detail.startswith(failure.message)
    [finding] = diagnose(Report(steps=(), failure=failure), connector.server)
    assert f"ERROR   {finding.field}: {finding.message}\n        {finding.hint}\n" in output.text


def failure_of(stage: Stage, detail: str, host: str) -> Failure:
    """Return the failure that the server's or the token end point's answer in a detail means."""
    if said := re.search(r' It said: "(\d{3}) (.*)"\.$', detail):
        return refusal(stage, Reply.from_lines(int(said[1]), [said[2].encode()]), host=host)
    [code] = re.findall(r"\((\w+)\)", detail)[:1]
    with pytest.raises(Failure) as raised:
        read_answer(HttpAnswer(400, json.dumps({"error": code}).encode()), sent=(), now=0.0)
    return raised.value
