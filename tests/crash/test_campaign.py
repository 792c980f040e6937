"""Short campaigns: enough to see that no promise is broken easily. The long ones are run by hand: `make test-crash`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from crash.__main__ import main

_TESTS = Path(__file__).parents[1]
_SECONDS = 240.0
_SHORT = ("--seconds", "25", "--longest", "8", "--rate", "15")


async def _play(*arguments: str) -> tuple[int, str]:
    """Run a campaign as `make test-crash` does, and return its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crash", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")])},
    )
    try:
        async with asyncio.timeout(_SECONDS):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    return process.returncode or 0, said.decode()


@pytest.mark.needs_server("strace")
@pytest.mark.parametrize(
    ("engine", "kills"),
    [("none", 6), ("sqlite", 15), pytest.param("postgres", 15, marks=pytest.mark.needs_server("postgres"))],
)
async def test_no_promise_is_broken_when_servers_are_killed(engine: str, kills: int) -> None:
    code, said = await _play("--engine", engine, "--kills", str(kills), *_SHORT)
    assert code == 0, said


def test_a_harm_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "flood"])
    assert "kill at stage" in capsys.readouterr().err
