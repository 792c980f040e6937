"""What the campaigns need."""

from __future__ import annotations

from harness.servers.needs import pytest_runtest_setup

__all__ = ["pytest_runtest_setup"]  # pytest calls it
