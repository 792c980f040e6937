"""The built wheels, each in an empty environment."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.wheels

ROOT = Path(__file__).parent.parent.parent
DIST = ROOT / "dist"


def wheel(prefix: str) -> str:
    [path] = DIST.glob(f"{prefix}-*.whl")
    return str(path)


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """Return the folder of an empty environment's programs."""
    venv.create(tmp_path / "venv", with_pip=True)
    return tmp_path / "venv" / "bin"


def run(*command: str | Path) -> str:
    done = subprocess.run(  # noqa: S603 - programs of the environment that the test has made
        [*map(str, command)], check=False, capture_output=True, text=True, cwd="/", timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_clients_wheel_brings_all_that_it_needs(environment: Path) -> None:
    run(environment / "pip", "install", "--quiet", wheel("smtpconnector"))
    installed = {
        package["name"].lower() for package in json.loads(run(environment / "pip", "list", "--format", "json"))
    }
    assert (
        installed - {"pip", "setuptools", "wheel"}
        == {
            *(
                "smtpconnector",
                "grpcio",
                "protobuf",
                "googleapis-common-protos",
                "typing-extensions",
                "typing_extensions",
            )
        }
        & installed
    )
    script = (
        "import smtpconnector, importlib.resources as files\n"
        "from smtpconnector.v1 import connector_service_pb2\n"
        "assert (files.files(smtpconnector) / 'py.typed').is_file()\n"
        "print(smtpconnector.UsageType.SIGN_IN.value)"
    )
    assert run(environment / "python", "-W", "error", "-c", script) == "SignIn\n"


def test_the_servers_wheel_runs_its_command(environment: Path) -> None:
    run(environment / "pip", "install", "--quiet", wheel("smtpconnector"), wheel("smtpconnector_server"))
    assert "serve" in run(environment / "smtpconnector", "--help")
    assert json.loads(run(environment / "smtpconnector", "metadata", "--json"))["target"] == "smtp"
    assert Path(
        run(environment / "python", "-c", "import smtpconnector_server as s; print(s.__file__)").strip()
    ).is_relative_to(environment.parent)


def test_the_images_recipe_works(environment: Path) -> None:
    """As docs/ops/deploy/Containerfile has it: the lock by its hashes, then our own two without their dependencies."""
    pip = environment / "pip"
    run(pip, "install", "--quiet", "--require-hashes", "--requirement", ROOT / "locks" / "run.txt")
    run(pip, "install", "--quiet", "--no-deps", ROOT / "client", ROOT)
    run(pip, "check")
    run(pip, "uninstall", "--quiet", "--yes", "pip")
    assert "serve" in run(environment / "smtpconnector", "--help")
    run(environment / "python", "-c", "import dkim, nacl, opentelemetry.sdk, psycopg, psycopg_pool")  # all extras


def test_the_distributions_name_the_same_version() -> None:
    versions = {Path(wheel(name)).name.split("-")[1] for name in ("smtpconnector", "smtpconnector_server")}
    assert len(versions) == 1
    assert sys.version_info >= (3, 11)
