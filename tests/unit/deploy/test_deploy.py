"""The files for operators: what they start exists, and what they rely on is so. No engine is needed."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from smtpconnector_server import __version__
from smtpconnector_server.cli import build_parser
from smtpconnector_server.cli.terminal import CONFIG_WRONG
from smtpconnector_server.settings import Settings, load_settings
from smtpconnector_server.store.keyring import fresh_key, holds_keys

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "docs" / "ops" / "deploy"


def settings_of(arguments: list[str]) -> Settings:
    """Read a `serve` command line as the command does."""
    parsed = vars(build_parser().parse_args(arguments))
    return load_settings({name: value for name, value in parsed.items() if name not in {"run", "settings"}})


@pytest.fixture(scope="module")
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # names of directives have capitals
    parser.read(DEPLOY / "smtpconnector.service", encoding="utf-8")
    return parser


def test_the_unit_starts_a_command_that_parses(unit: configparser.ConfigParser) -> None:
    program, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert program.endswith("/bin/smtpconnector")
    assert build_parser().parse_args(arguments).settings == Path("/etc/smtpconnector/settings.toml")


def test_the_unit_gives_a_mail_on_its_way_its_time(unit: configparser.ConfigParser) -> None:
    assert float(unit["Service"]["TimeoutStopSec"]) > Settings().grace


def test_the_unit_does_not_start_a_wrong_configuration_again(unit: configparser.ConfigParser) -> None:
    assert int(unit["Service"]["RestartPreventExitStatus"]) == CONFIG_WRONG


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
    return {document["kind"]: document for document in documents}


@pytest.fixture(scope="module")
def container(manifests: dict[str, Any]) -> dict[str, Any]:
    [container] = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


def test_the_deployment_starts_a_command_that_parses(manifests: dict[str, Any], container: dict[str, Any]) -> None:
    settings = settings_of(container["args"])
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    [sleep] = [int(word) for word in container["lifecycle"]["preStop"]["exec"]["command"] if word.isdigit()]
    assert settings.listen.endswith(":50051")
    assert pod["terminationGracePeriodSeconds"] > settings.grace + sleep


def test_probes_services_and_budget_mean_the_deployment(manifests: dict[str, Any], container: dict[str, Any]) -> None:
    port, metrics = container["ports"]
    assert f"--metrics-listen=0.0.0.0:{metrics['containerPort']}" in container["args"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] == port["containerPort"]
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert manifests["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests["Service"]["spec"]["selector"] == labels
    assert manifests["Service"]["spec"]["clusterIP"] == "None"  # or round_robin would see one address
    assert manifests["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    assert manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests["PodDisruptionBudget"]["spec"]["minAvailable"] < manifests["Deployment"]["spec"]["replicas"]


def test_the_pod_has_no_more_rights_than_it_needs(manifests: dict[str, Any], container: dict[str, Any]) -> None:
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    assert container["image"] == f"smtpconnector:{__version__}"


CONTAINERFILE = (DEPLOY / "Containerfile").read_text(encoding="utf-8")


def test_the_image_copies_what_there_is() -> None:
    copied = [line.split()[1:-1] for line in re.findall(r"^COPY (?!--from).*$", CONTAINERFILE, re.MULTILINE)]
    for source in [name for names in copied for name in names]:
        assert (ROOT / source).exists(), source


def test_the_image_runs_commands_that_parse_and_not_as_root() -> None:
    health = json.loads(re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", CONTAINERFILE, re.MULTILINE)[0])
    assert health[0] == json.loads(re.findall(r"^ENTRYPOINT (\[.*\])$", CONTAINERFILE, re.MULTILINE)[0])[0]
    build_parser().parse_args(health[1:])
    example = re.findall(r"^#\s+(serve .*)$", CONTAINERFILE, re.MULTILINE)[0]
    assert settings_of(shlex.split(example)).insecure
    assert re.search(r"^USER [1-9]\d*:", CONTAINERFILE, re.MULTILINE)


def test_the_unit_has_a_place_for_a_store_that_nobody_else_reads(unit: configparser.ConfigParser) -> None:
    assert unit["Service"]["StateDirectory"] == "smtpconnector"
    assert unit["Service"]["StateDirectoryMode"] == "0700"


def test_the_deployment_sets_what_a_store_on_postgresql_needs(
    container: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = fresh_key()
    values = {"url": "postgresql://mail@db/mail", "key": key}
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], values[variable["valueFrom"]["secretKeyRef"]["key"]])
    settings = settings_of(container["args"])
    assert settings.store == "postgresql://mail@db/mail"
    assert settings.store_key is not None
    assert holds_keys(settings.store_key.get_secret_value())
