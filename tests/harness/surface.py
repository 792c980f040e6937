"""What callers and operators name: reasons, classes, commands, flags, settings, keys, metrics.

Run as a program it writes all of it, to be kept with a release.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

import smtpconnector
import smtpconnector.testing
from smtpconnector.errors import error_class
from smtpconnector_server.cli import build_parser
from smtpconnector_server.config.schema import config_schema
from smtpconnector_server.rpc.status import CODES
from smtpconnector_server.settings import Settings
from smtpconnector_server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator


def surface() -> dict[str, list[str]]:
    """Return today's names; each line is one promise."""
    return {
        "reasons": sorted(
            f"{reason} {code.name} {error_class(reason, code, None).__name__}" for reason, code in CODES.items()
        ),
        "client": sorted(
            f"{module.__name__}.{name}" for module in (smtpconnector, smtpconnector.testing) for name in module.__all__
        ),
        "commands": sorted(_commands(build_parser(), "smtpconnector")),
        "settings": sorted(Settings.model_fields),
        "document": sorted(config_schema()["properties"]),
        "metrics": sorted(_metrics(Metrics())),
    }


def _commands(parser: argparse.ArgumentParser, called: str) -> Iterator[str]:
    yield called
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from _commands(command, f"{called} {name}")
        for flag in action.option_strings:
            yield f"{called} {flag}"


def _metrics(metrics: Metrics) -> Iterator[str]:
    for collector in metrics.registry._collector_to_names:
        family: Any = collector
        yield f"{family._name} {family._type} {','.join(family._labelnames)}"


if __name__ == "__main__":
    json.dump(surface(), sys.stdout, indent=1)
    sys.stdout.write("\n")
