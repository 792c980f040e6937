from __future__ import annotations

import pytest

from smtpconnector_server.config.model import Dsn, DsnEvent, DsnReturn
from smtpconnector_server.smtp.envelope import Envelope


def test_writes_its_commands() -> None:
    envelope = Envelope(sender="a@b.example", recipient="c@d.example")
    assert envelope.mail_command(" SIZE=7") == b"MAIL FROM:<a@b.example> SIZE=7\r\n"
    assert envelope.rcpt_command() == b"RCPT TO:<c@d.example>\r\n"


def test_can_have_the_null_sender() -> None:
    assert Envelope(sender="", recipient="c@d.example").mail_command("") == b"MAIL FROM:<>\r\n"


@pytest.mark.parametrize(
    "address",
    [
        "a@b.example\r\nDATA",
        "a@b.example> SIZE=1",
        "a@b.example> AUTH=<x",
        "a b@c.example",
        "a@b.example\0",
        "<a@b.example",
        "a\x7f@b.example",
        "a\u2028@b.example",
        "a\x85@b.example",
        "\ud800@b.example",
        "x" * 500 + "@b.example",
    ],
)
def test_refuses_an_address_that_could_break_out_of_its_command(address: str) -> None:
    with pytest.raises(ValueError, match="not fit") as raised:
        Envelope(sender="a@b.example", recipient=address)
    assert address not in str(raised.value)
    with pytest.raises(ValueError, match="not fit"):
        Envelope(sender=address, recipient="a@b.example")


def test_refuses_to_have_no_recipient() -> None:
    with pytest.raises(ValueError, match="not fit"):
        Envelope(sender="a@b.example", recipient="")


def test_needs_smtputf8_when_told_or_when_an_address_is_not_ascii() -> None:
    assert not Envelope(sender="a@b.example", recipient="c@d.example").needs_smtputf8
    assert Envelope(sender="a@b.example", recipient="c@d.example", smtputf8=True).needs_smtputf8
    assert Envelope(sender="用户@例子.example", recipient="c@d.example").needs_smtputf8


def test_asks_for_notifications_in_xtext() -> None:
    dsn = Dsn(
        envelope_id="a b+c=d\r\nDATA",
        returned=DsnReturn.HEADERS,
        notify=(DsnEvent.SUCCESS, DsnEvent.DELAY),
        original_recipient="rfc822;ada+tag@example.com",
    )
    envelope = Envelope(sender="a@b.example", recipient="c@d.example", dsn=dsn)
    assert envelope.dsn_of_mail == " RET=HDRS ENVID=a+20b+2Bc+3Dd+0D+0ADATA"
    assert envelope.dsn_of_rcpt == " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;ada+2Btag@example.com"
    assert envelope.rcpt_command(envelope.dsn_of_rcpt).count(b"\r\n") == 1


def test_asks_for_nothing_of_its_own_accord() -> None:
    envelope = Envelope(sender="a@b.example", recipient="c@d.example")
    assert envelope.dsn_of_mail == envelope.dsn_of_rcpt == ""
