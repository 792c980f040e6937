"""Postfix's smtp-sink goes wrong at every command; what the sender is told is held against what the sink received."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness.servers.submission import Access, Letter, configuration
from smtpconnector_server.config.model import Timeouts
from smtpconnector_server.failure import Failure, Outcome, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.servers.smtp_sink import SmtpSink
    from smtpconnector_server.smtp.pool import SessionPool

pytestmark = pytest.mark.needs_server("smtp-sink")

HANG_UP, CLOSE_BY_421, DEFER, REFUSE = "-q", "-Q", "-r", "-f"
# "." is the end of the message. With -r and -f smtp-sink offers no PIPELINING, with -q and -Q it does.
#
# commands   -q        -Q        -r        -f
OUTCOMES = """
  CONNECT    NOT_SENT  NOT_SENT  NOT_SENT  REJECTED
  EHLO,HELO  NOT_SENT  NOT_SENT  NOT_SENT  REJECTED
  MAIL       NOT_SENT  NOT_SENT  NOT_SENT  REJECTED
  RCPT       NOT_SENT  NOT_SENT  NOT_SENT  REJECTED
  DATA       NOT_SENT  NOT_SENT  NOT_SENT  REJECTED
  .          UNKNOWN   NOT_SENT  NOT_SENT  REJECTED
"""
MUCH_TEXT = "x" * 10_000_000
"""More than the kernel's buffers hold, so that the end is not out while the server reads nothing."""
CELLS = [
    (flag, commands, Outcome(outcome))
    for commands, *outcomes in (line.split() for line in OUTCOMES.split("\n") if line.strip())
    for flag, outcome in zip((HANG_UP, CLOSE_BY_421, DEFER, REFUSE), outcomes, strict=True)
]


@pytest.mark.parametrize(("flag", "commands", "outcome"), CELLS)
async def test_tells_what_is_true_of_a_mail_that_goes_wrong(
    smtp_sink: Callable[..., SmtpSink], pool: SessionPool, flag: str, commands: str, outcome: Outcome
) -> None:
    sink = smtp_sink(flag, commands)
    letter = Letter()
    with pytest.raises(Failure) as failed:
        await letter.send(pool, configuration(sink.port, Access.CLEAR))
    assert failed.value.outcome is outcome
    # smtp-sink keeps what it received, whatever it answers.
    if commands == ".":
        assert is_complete(letter, sink)
    else:
        assert is_absent(letter, sink)


@pytest.mark.parametrize("flag", [HANG_UP, CLOSE_BY_421])
async def test_a_mail_on_a_connection_that_died_meanwhile_is_not_sent(
    smtp_sink: Callable[..., SmtpSink], pool: SessionPool, flag: str
) -> None:
    sink = smtp_sink(flag, "RSET")
    server = configuration(sink.port, Access.CLEAR)
    first, second = Letter(), Letter()
    await first.send(pool, server)
    with pytest.raises(Failure) as failed:
        await second.send(pool, server)
    assert (failed.value.outcome, failed.value.stage) == (Outcome.NOT_SENT, Stage.POOL)
    assert is_complete(first, sink)
    assert is_absent(second, sink)


@pytest.mark.parametrize("flag", [HANG_UP, CLOSE_BY_421, DEFER, REFUSE])
async def test_a_mail_is_sent_whatever_is_said_to_quit(
    smtp_sink: Callable[..., SmtpSink], pool: SessionPool, flag: str
) -> None:
    sink = smtp_sink(flag, "QUIT")
    letter = Letter()
    assert (await letter.send(pool, configuration(sink.port, Access.CLEAR))).code == 250
    await pool.close(5.0)
    assert is_complete(letter, sink)


async def test_speaks_to_a_server_from_before_esmtp(smtp_sink: Callable[..., SmtpSink], pool: SessionPool) -> None:
    sink = smtp_sink("-e", "-f", "EHLO")
    letter = Letter()
    assert (await letter.send(pool, configuration(sink.port, Access.CLEAR))).code == 250
    assert is_complete(letter, sink)


async def test_a_mail_refused_in_its_middle_is_not_sent(smtp_sink: Callable[..., SmtpSink], pool: SessionPool) -> None:
    sink = smtp_sink("-A", "1")
    letter = Letter(text=MUCH_TEXT)
    with pytest.raises(Failure) as failed:
        await letter.send(pool, configuration(sink.port, Access.CLEAR))
    # smtp-sink closes right behind its refusal, and a reset may overtake it.
    assert failed.value.outcome in {Outcome.REJECTED, Outcome.NOT_SENT}
    assert not is_complete(letter, sink)


@pytest.mark.parametrize("flags", [("-w", "30"), ("-H", "30", "-T", "1024")], ids=["is silent", "does not read"])
async def test_a_mail_whose_server_stands_still_before_its_end_is_not_sent(
    smtp_sink: Callable[..., SmtpSink], pool: SessionPool, flags: tuple[str, ...]
) -> None:
    sink = smtp_sink(*flags)
    letter = Letter(text=MUCH_TEXT)
    server = replace(configuration(sink.port, Access.CLEAR), timeouts=Timeouts(socket=0.5))
    with pytest.raises(Failure) as failed:
        await letter.send(pool, server)
    assert failed.value.outcome is Outcome.NOT_SENT
    assert not is_complete(letter, sink)


def is_complete(letter: Letter, sink: SmtpSink) -> bool:
    """Tell whether the sink has received all of a letter, once."""
    octets = letter.octets.decode().replace("\r\n", "\n")
    return [octets in message for message in sink.received()].count(True) == 1


def is_absent(letter: Letter, sink: SmtpSink) -> bool:
    """Tell whether the sink has received nothing of a letter."""
    return not any(letter.subject in message for message in sink.received())
