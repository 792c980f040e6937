"""Structured logs: one line an event, on standard error; JSON for machines, aligned text for a terminal.

Events have stable snake_case names and fields; docs/ops/logs.md lists them. No recipient, code, payload, body, password
or token is ever a field. What libraries log comes without its values, and never below a warning: they may be secret.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any, AnyStr, Final, Generic, Literal, TypeAlias

import structlog
from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

LogFormat: TypeAlias = Literal["auto", "json", "text"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

_MAX_LIBRARY_TEXT: Final = 200

_log = structlog.get_logger()


def configure_logs(log_format: LogFormat, level: LogLevel) -> None:
    """Set up logging for the whole process.

    Args:
        log_format: ``auto`` is ``text`` on a terminal and ``json`` elsewhere.
        level: The least severe level to write.
    """
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if as_text else _to_json
    lines = _Lines(sys.stderr, "\n") if as_text else _Lines(sys.stderr.buffer, b"\n")
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, _add_time, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_names: lines,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_LibraryHandler()], force=True)


def _add_time(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    event["timestamp"] = f"{_to_the_second(seconds)}.{nanoseconds // 1000:06d}Z"
    return event


@lru_cache(maxsize=1)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _to_json(_logger: object, _method: str, event: Mapping[str, Any]) -> bytes:
    try:
        return to_json(event, fallback=repr)
    except ValueError:  # half of a surrogate pair, from the name of a file
        return json.dumps(event, default=repr).encode()


class _Lines(Generic[AnyStr]):
    """Writes lines, and loses them on a full disk, or into a pipe that nobody reads, rather than break anything."""

    def __init__(self, file: IO[AnyStr], end: AnyStr) -> None:
        self._file: IO[AnyStr] = file
        self._end: AnyStr = end

    def msg(self, line: AnyStr) -> None:
        """Write a line."""
        with suppress(OSError):
            self._file.write(line + self._end)
            self._file.flush()

    debug = info = warning = error = critical = msg


class _LibraryHandler(logging.Handler):
    """Writes what libraries log as events."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the text before its values were put in, or the first line of one that was made with them.

        The event loop puts a title on the first line and what broke, with its values, below it.
        """
        error = record.exc_info[0] if record.exc_info else None
        _log.log(
            record.levelno,
            "library_message",
            logger=record.name,
            text=str(record.msg).partition("\n")[0][:_MAX_LIBRARY_TEXT],
            error_type=error.__qualname__ if error is not None else None,
        )
