"""Structured logs: one line an event, on standard error; JSON for machines, aligned text for a terminal.

Events have stable snake_case names and fields; docs/ops/logs.md lists them. No recipient, code, payload, body, password
or token is ever a field. What libraries log comes without its values, and never below a warning: they may be secret.
"""

from __future__ import annotations

import logging
import sys
from json import JSONEncoder
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LogFormat: TypeAlias = Literal["auto", "json", "text"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

_MAX_LIBRARY_TEXT: Final = 200
_ENCODER: Final = JSONEncoder(default=repr)

_log = structlog.get_logger()


def configure_logs(log_format: LogFormat, level: LogLevel) -> None:
    """Set up logging for the whole process.

    Args:
        log_format: ``auto`` is ``text`` on a terminal and ``json`` elsewhere.
        level: The least severe level to write.
    """
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor
    writers: Callable[..., structlog.typing.WrappedLogger]
    if as_text:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        writers = structlog.WriteLoggerFactory(file=sys.stderr)
    else:
        renderer = structlog.processors.JSONRenderer(_to_json)
        writers = structlog.BytesLoggerFactory(file=sys.stderr.buffer)  # a line a mail: octets spare a text's layers
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=writers,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_LibraryHandler()], force=True)


def _to_json(event: Mapping[str, Any], **_options: object) -> bytes:
    return _ENCODER.encode(event).encode()


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
