"""The benchmark keeps up with the code that it measures. How fast that is, no test says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.needs_server("smtp-sink")  # the benchmark looks for its far end, whatever it measures
def test_the_stages_of_a_mail_can_be_measured() -> None:
    measured = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--scene", "stages"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert measured.returncode == 0, measured.stderr
    assert "compose a text mail" in measured.stdout
