"""How lines are written: in a process of its own, for it is set up once a process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, gc, logging
from smtpconnector_server.telemetry.logs import configure_logs

configure_logs("json", "debug")
library = logging.getLogger("library")
library.warning("told %s", "canary-value")
library.info("told %s", "canary-value")
try:
    raise ValueError("canary-value")
except ValueError:
    library.exception("broke")

async def breaks():
    raise ValueError("canary-value")

async def forgets():
    asyncio.get_running_loop().slow_callback_duration = 60.0  # a busy machine is slow, which it would say
    task = asyncio.create_task(breaks(), name="canary-name")
    await asyncio.sleep(0)
    del task
    gc.collect()

asyncio.run(forgets(), debug=True)
"""


def test_what_libraries_say_comes_without_its_values_and_only_from_a_warning_on() -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 - our own script
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [(line["event"], line["level"], line["logger"], line["text"], line["error_type"]) for line in lines] == [
        ("library_message", "warning", "library", "told %s", None),
        ("library_message", "error", "library", "broke", "ValueError"),
        ("library_message", "error", "asyncio", "Task exception was never retrieved", "ValueError"),
    ]
    assert "canary" not in ended.stderr
    assert ended.stdout == ""


UNWRITTEN = """
import structlog, sys
from smtpconnector_server.telemetry.logs import configure_logs

configure_logs(sys.argv[1], "debug")
for _ in range(1000):
    structlog.get_logger().info("said", text="x" * 100)
print("goes on", flush=True)
"""


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_log_on_a_full_disk_breaks_nothing(log_format: str) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - no path of ours
        ended = subprocess.run(  # noqa: S603 - our own script
            [sys.executable, "-c", UNWRITTEN, log_format], stdout=subprocess.PIPE, stderr=full, timeout=30, check=False
        )
    assert ended.stdout == b"goes on\n"


ODD = """
import structlog
from smtpconnector_server.telemetry.logs import configure_logs

configure_logs("json", "debug")
log = structlog.get_logger()
log.info("said", file="a\\udcffb", milliseconds=1.5, nothing=None)
log.info("said", kind=ValueError, octets=b"\\xff")
log.info("said", text="Grüße\\u2028\\n")
"""


def test_a_value_that_json_does_not_know_breaks_no_line() -> None:
    ended = subprocess.run([sys.executable, "-c", ODD], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 - our own script
    lines = [json.loads(line) for line in ended.stderr.split("\n")[:-1]]
    assert [line["event"] for line in lines] == ["said"] * 3
    assert (lines[0]["file"], lines[0]["milliseconds"], lines[0]["nothing"]) == ("a\udcffb", 1.5, None)
    assert (lines[1]["kind"], lines[1]["octets"]) == ("<class 'ValueError'>", r"b'\xff'")
    assert lines[2]["text"] == "Grüße\u2028\n"
