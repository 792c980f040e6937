"""What ``@pytest.mark.needs_server("postfix")`` means. A conftest.py imports the hook to make it so for its folder."""

from __future__ import annotations

import pytest

from harness.servers import exim, postfix, postgres, smtp_sink
from harness.servers.programs import MissingServerError, program

_CHECKS = {
    "postfix": postfix.check,
    "exim": exim.check,
    "smtp-sink": smtp_sink.check,
    "postgres": postgres.check,
    "pgbouncer": postgres.check_pooler,
    "strace": lambda: program("strace"),
    "grpcurl": lambda: program("grpcurl"),
}


@pytest.hookimpl(tryfirst=True)  # before the fixtures, which would start the server
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the test if one of its servers is missing, or let it fail if none may be."""
    for marker in item.iter_markers("needs_server"):
        (name,) = marker.args
        try:
            _CHECKS[name]()
        except MissingServerError as missing:
            refuse = pytest.fail if item.config.getoption("--require-servers") else pytest.skip
            refuse(f"{name}: {missing}")
