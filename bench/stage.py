"""What the stages of one mail cost by themselves: each alone, repeated, with warm caches, so at its least."""

from __future__ import annotations

import gc
import time
import timeit
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.party import OURS, TEXT, TEXT_FRAME, profile
from bench.scene import html_template
from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector_server.config.document import read_document
from smtpconnector_server.config.origin import Origin
from smtpconnector_server.message.address import parse_mailbox
from smtpconnector_server.message.mail import Composer, new_message_id
from smtpconnector_server.message.template import ContentType, Template, compile_template
from smtpconnector_server.rpc import mapping
from smtpconnector_server.smtp.envelope import Envelope
from smtpconnector_server.smtp.reader import ReplyReader
from smtpconnector_server.smtp.transaction import Accepted, Level, Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.result import Results
    from smtpconnector_server.delivery.composition import MailRequest
    from smtpconnector_server.message.mail import Mail
    from smtpconnector_server.message.template import CompiledTemplate

_HEAD = 5
_REPEATS = 5
_REPLIES = (
    b"250 2.0.0 Ok\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n",
    b"250 2.0.0 Ok: queued as 4bXyZ12345\r\n",
)


@dataclass(frozen=True, slots=True)
class Stages:
    """Micro-benchmarks."""

    seconds: float
    """For each stage."""
    name: str = "stages"

    def __len__(self) -> int:
        return len(_stages())

    def play(self, results: Results, folder: Path) -> Iterator[str]:
        """Measure."""
        del folder
        for stage, call in _stages().items():
            yield stage
            gc.collect()
            once = timeit.timeit(call, number=20) / 20
            number = max(1, int(self.seconds / _REPEATS / once))
            for took in timeit.repeat(call, number=number, repeat=_REPEATS):
                results.add(stage, OURS.name, "µs", took / number * 1e6)


def _stages() -> dict[str, Callable[[], object]]:
    html, html_frame = html_template()
    document = profile(25, html)
    text_octets = TEXT_FRAME[_HEAD:]
    text_request = mapping.to_mail_request(pb.SendMessageRequest.FromString(text_octets), [])
    html_message = pb.SendMessageRequest.FromString(html_frame[_HEAD:])
    html_request = mapping.to_mail_request(html_message, [])
    text_template, html_template_ = _template(TEXT), _template(html)
    text, compiled = compile_template(text_template), compile_template(html_template_)
    composer = Composer(parse_mailbox(document["fromEmail"]))
    mail = _compose(composer, text, text_request)
    return {
        "decode a request": lambda: pb.SendMessageRequest.FromString(text_octets),
        "check and map a request": lambda: mapping.to_mail_request(pb.SendMessageRequest.FromString(text_octets), []),
        "check and map 60 values": lambda: mapping.to_mail_request(html_message, []),
        "compose a text mail": lambda: _compose(composer, text, text_request),
        "compose an HTML mail of 60 values": lambda: _compose(composer, compiled, html_request),
        "compile an HTML template": lambda: compile_template(html_template_),
        "the SMTP transaction": lambda: _transact(mail),
        "read five replies": _read,
        "validate a configuration": lambda: read_document(document, origin=Origin.PROFILE),
    }


def _template(written: dict[str, str]) -> Template:
    return Template(
        usage_type=written["usageType"],
        content_type=ContentType(written["contentType"]),
        subject=written["subject"],
        content=written["content"],
    )


def _compose(composer: Composer, template: CompiledTemplate, request: MailRequest) -> Mail:
    message_id = new_message_id("example.com")
    return composer.compose(template, request.to, request.payload, date=time.time(), message_id=message_id)


def _transact(mail: Mail) -> None:
    envelope = Envelope(sender=mail.sender, recipient=mail.recipient, smtputf8=mail.needs_smtputf8)
    transaction = Transaction(envelope, mail.octets, level=Level.PIPELINING, parameters=" SIZE=400", reset=True)
    for replies in _REPLIES:
        transaction.next_octets()
        transaction.receive(replies)
    if not isinstance(transaction.end, Accepted):
        raise TypeError("the benchmark's own mail was not accepted")


def _read() -> None:
    reader = ReplyReader()
    for replies in _REPLIES:
        reader.feed(replies)
