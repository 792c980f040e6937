"""Structured logs: one line an event, on standard error; JSON for machines, aligned text for a terminal.

Events have stable snake_case names and fields; docs/ops/logs.md lists them. No recipient, code, payload, body, password
or token is ever a field. What libraries log comes without its values, and never below a warning: they may be secret.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from json import JSONEncoder
from typing import IO, TYPE_CHECKING, Any, AnyStr, BinaryIO, Final, Generic, Literal, TextIO, TypeAlias, cast

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
        writers = structlog.WriteLoggerFactory(file=cast("TextIO", _Tolerant(sys.stderr)))
    else:
        renderer = structlog.processors.JSONRenderer(_to_json)
        # A line a mail: octets spare a text's layers.
        writers = structlog.BytesLoggerFactory(file=cast("BinaryIO", _Tolerant(sys.stderr.buffer)))
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


class _Tolerant(Generic[AnyStr]):
    """A file that loses lines on a full disk, or into a pipe that nobody reads, rather than break what they tell of."""

    def __init__(self, file: IO[AnyStr]) -> None:
        self._file: IO[AnyStr] = file

    def write(self, line: AnyStr) -> None:
        with suppress(OSError):
            self._file.write(line)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()


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
