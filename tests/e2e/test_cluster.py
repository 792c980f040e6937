"""`make run-cluster` does what it says: two servers on one PostgreSQL, one is killed, and every mail is sent once."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "cluster.py"
ANYWHERE = ("--listen", "127.0.0.1:0", "127.0.0.1:0")
SECONDS = 150

pytestmark = pytest.mark.needs_server("postgres")


def test_two_servers_share_the_mails_and_one_takes_over_what_a_killed_one_had_in_hand() -> None:
    shown = subprocess.run(  # noqa: S603 - our own
        [sys.executable, SCRIPT, "--once", *ANYWHERE], check=False, capture_output=True, text=True, timeout=SECONDS
    )

    assert shown.returncode == 0, shown.stderr
    before, killed, after = shown.stdout.partition("one is killed")
    assert killed
    assert {"one", "two"} <= set(re.findall(r"sent by (\w+)", before))
    assert set(re.findall(r"sent by (\w+)", after)) == {"two"}
    said = re.search(r"The inbox says: (\d+) arrived once, (\d+) not at all, (\d+) twice", after)
    assert said is not None
    once, never, twice = map(int, said.groups())
    assert (once, twice) == (24 - never, 0)
    unknown = re.search(r"(\d+) UNKNOWN", after)
    assert never <= (int(unknown[1]) if unknown else 0), "only what may have arrived is left out"


def test_it_serves_on_and_leaves_nothing_running_when_it_is_stopped() -> None:
    with subprocess.Popen(  # noqa: S603 - our own
        [sys.executable, SCRIPT, *ANYWHERE], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        folder = None
        for line in process.stdout:
            folder = folder or re.search(r"PostgreSQL runs in (\S+)", line)
            if "Ctrl-C stops" in line:
                break
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0

    assert folder is not None
    assert not Path(folder[1]).exists()
