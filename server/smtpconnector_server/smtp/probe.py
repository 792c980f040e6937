"""A look at a live server: does a configuration work, and if not, at which step does it end.

The look goes the way that mails go, on a connection of its own that no mail is ever sent on, logs in as one mail would,
and ends before DATA. Whatever becomes of it, the report is there in time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.model import Timeouts, TlsMode
from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.smtp.capabilities import Capabilities
from smtpconnector_server.smtp.certificate import ShownCertificate
from smtpconnector_server.smtp.course import Course, Depth, ProbeStep, StepStatus, plan
from smtpconnector_server.smtp.handshake import speaks_tls

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpconnector_server.config.model import Server
    from smtpconnector_server.smtp.dialogue import Sight
    from smtpconnector_server.smtp.envelope import Envelope
    from smtpconnector_server.smtp.opening import Opener
    from smtpconnector_server.smtp.reply import Reply
    from smtpconnector_server.smtp.session import Session
    from smtpconnector_server.smtp.transaction import Command, Level

_WAIT_SHARE: Final = 0.75
"""Of all the time there is, what one wait may take: a wait that ends says more than a deadline that passes."""
_DIAL_SECONDS: Final = 10.0
"""For a look-up, for a connection and for a handshake."""
_SILENT_SECONDS: Final = 3.0
"""Without a greeting: then it is asked whether the server waits for TLS. Hardly any other is silent for so long."""
_PEEK_SECONDS: Final = 3.0
"""For each wait on a second connection."""
_DISCREET_SECONDS: Final = 8.0
"""In which a server has to greet a discreet look, and after which it is told that one has not."""
_LEAVE_SECONDS: Final = 1.0
"""For the server to close after QUIT."""

_CONNECTING: Final = frozenset({Stage.RESOLVE, Stage.CONNECT, Stage.TLS, Stage.GREETING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a look has shown."""

    steps: tuple[ProbeStep, ...]
    failure: Failure | None = None
    """Of the step that failed, if one did."""
    capabilities: Capabilities | None = None
    """From the last EHLO. None: it did not come to that."""
    certificate: ShownCertificate | None = None
    """Also one that was refused. None: none was seen."""
    level: Level | None = None
    """How many commands at once the server gets at the moment. None: unknown, for lack of capabilities."""


class Probe:
    """Looks at servers.

    Args:
        opener: Opens the sessions: the one that mails use, so that the look sees what they would.
    """

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    async def run(
        self,
        server: Server,
        depth: Depth,
        *,
        within: float,
        envelope: Envelope | None = None,
        on_step: Callable[[ProbeStep], None] = lambda _step: None,
    ) -> Report:
        """Look at a server.

        The look is discreet where the dialer's policy keeps from those who name servers what is where on our network:
        until a server has greeted, every fault then gets the same answer after the same time.

        Args:
            server: Which one.
            depth: How deep, RESOLVE at least.
            within: Seconds after which the report is there.
            envelope: For ENVELOPE: who would send, and who would receive.
            on_step: Told each step of a look that is not discreet, when it has ended.
        """
        is_discreet = not self._opener.dialer.tells_all(server)
        look = _Look(self._opener, server, depth, envelope, None if is_discreet else on_step)
        if not is_discreet:
            await look.go(within, within)
            return look.report()
        greeting_within = min(within, _DISCREET_SECONDS)
        may_tell_at = asyncio.get_running_loop().time() + greeting_within
        await look.go(within, greeting_within)
        report = look.report()
        if not look.is_secret:
            return replace(report, steps=tuple(map(_tersely, report.steps)))
        await asyncio.sleep(may_tell_at - asyncio.get_running_loop().time())
        return _tell_nothing(server, depth, greeting_within)


class _Look:
    """One look.

    Args:
        opener: Opens the sessions.
        server: Which one.
        depth: How deep.
        envelope: For ENVELOPE.
        on_step: Told each step when it has ended. None: the look is discreet, and makes no second connection.
    """

    def __init__(
        self,
        opener: Opener,
        server: Server,
        depth: Depth,
        envelope: Envelope | None,
        on_step: Callable[[ProbeStep], None] | None,
    ) -> None:
        self._opener = opener
        self._server = server
        self._depth = depth
        self._envelope = envelope
        self._is_discreet = on_step is None
        self._course = Course(plan(server, depth), on_step=on_step or (lambda _step: None))
        self._failure: Failure | None = None
        self._failed_after = 0.0
        self._capabilities: Capabilities | None = None
        self._certificate: ShownCertificate | None = None
        self._is_connected = asyncio.Event()
        self._on_greeting: Callable[[], None] = lambda: None

    @property
    def is_secret(self) -> bool:
        """Whether the look ended before a server showed that it is one for mail, and not for being forbidden."""
        failure = self._failure
        return (
            failure is not None
            and failure.stage in _CONNECTING
            and failure.reason is not Reason.EGRESS_DENIED
            and not self._course.has_passed(Stage.GREETING)
        )

    async def go(self, within: float, greeting_within: float) -> None:
        """Look, for so many seconds at most."""
        self._server = _hurried(self._server, _WAIT_SHARE * greeting_within, _WAIT_SHARE * within)
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(now + greeting_within) as timeout:
                self._on_greeting = lambda: timeout.reschedule(now + within)
                await (self._resolve() if self._depth is Depth.RESOLVE else self._talk_unless_it_waits_for_tls())
        except TimeoutError:
            if self._failure is None and self._course.under_way is not None:
                self._note(_out_of_time(self._server, self._course.under_way))
        if self._failure is not None:
            self._course.fail(self._failure.stage, self._what_failed(self._failure), seconds=self._failed_after)

    def report(self) -> Report:
        """Return what the look has shown."""
        offered = self._capabilities
        return Report(
            steps=tuple(self._course.steps),
            failure=self._failure,
            capabilities=offered,
            certificate=self._certificate,
            level=self._opener.level(self._server, offered) if offered is not None else None,
        )

    async def _resolve(self) -> None:
        try:
            addresses = await self._opener.dialer.resolve(self._server)
        except Failure as failure:
            self._note(failure)
        else:
            self._see(Stage.RESOLVE, ", ".join(map(str, addresses)))

    async def _talk_unless_it_waits_for_tls(self) -> None:
        talking = asyncio.create_task(self._talk())
        asking = asyncio.create_task(self._waits_for_tls())
        try:
            await asyncio.wait({talking, asking}, return_when=asyncio.FIRST_COMPLETED)
            if not talking.done() and asking.result():
                self._note(speaks_tls(self._server))
            else:
                await talking
        finally:
            talking.cancel()
            asking.cancel()
            await asyncio.gather(talking, asking, return_exceptions=True)

    async def _talk(self) -> None:
        authenticate = self._depth >= Depth.AUTHENTICATE
        try:
            session = await self._opener.open(self._server, on_step=self._see, authenticate=authenticate)
        except Failure as failure:
            self._note(failure)
            if failure.reason is Reason.SMTP_TLS_CERTIFICATE_INVALID and not self._is_discreet:
                self._certificate = next(iter(await self._peek(self._server)), None)
            return
        try:
            if self._envelope is not None:
                await session.rehearse(self._envelope, self._see_reply)
        except Failure as failure:
            if self._course.under_way is not None:  # on the RSET behind the last step nothing depends
                self._note(failure)
        else:
            self._course.finish()
        await _leave(session)

    async def _waits_for_tls(self) -> bool:
        """Tell whether a server that has been silent for a while waits for TLS."""
        if self._is_discreet or self._server.tls_mode is TlsMode.IMPLICIT:
            return False
        await self._is_connected.wait()
        await asyncio.sleep(_SILENT_SECONDS)
        if self._course.has_passed(Stage.GREETING):
            return False
        has_tls = await self._peek(replace(self._server, tls_mode=TlsMode.IMPLICIT))
        return bool(has_tls) and not self._course.has_passed(Stage.GREETING)

    async def _peek(self, server: Server) -> list[ShownCertificate | None]:
        """Return the certificate that a server shows on a second connection, whatever it is worth; empty without TLS.

        No credentials go there.
        """
        shown: list[ShownCertificate | None] = []

        def see(_stage: Stage, sight: Sight) -> None:
            if not isinstance(sight, str | Capabilities):
                shown.append(ShownCertificate.of(sight))

        server = replace(server, auth=None, tls=replace(server.tls, verify=False))
        try:
            session = await self._opener.open(_hurried(server, _PEEK_SECONDS, _PEEK_SECONDS), on_step=see)
        except Failure:
            return shown
        await _leave(session)
        return shown

    def _see(self, stage: Stage, sight: Sight) -> None:
        """Take a step that went well."""
        if isinstance(sight, Capabilities):
            self._capabilities = sight
            detail = ", ".join(sight.extensions) or "no extensions"
        elif not isinstance(sight, str):
            self._certificate = ShownCertificate.of(sight)
            cipher = sight.cipher()
            words = [sight.version(), cipher[0] if cipher else "", self._certificate and self._certificate.describe()]
            detail = ", ".join(word for word in words if word)
        elif stage is Stage.AUTH and self._capabilities is not None:
            detail = f"{sight}, of {', '.join(self._capabilities.auth_mechanisms)}"
        else:
            detail = sight
        self._course.pass_(stage, detail)
        if stage is Stage.CONNECT:
            self._is_connected.set()
        elif stage is Stage.GREETING:
            self._on_greeting()

    def _see_reply(self, command: Command, reply: Reply) -> None:
        if reply.is_positive and self._course.under_way is not None:
            self._course.pass_(command.stage, f"{reply.codes} {reply.text}")

    def _note(self, failure: Failure) -> None:
        self._failure = failure
        self._failed_after = self._course.seconds()

    def _what_failed(self, failure: Failure) -> str:
        detail = failure.message
        if failure.reply is not None and failure.reply.text and not self._is_discreet:
            detail += f' It said: "{failure.reply.codes} {failure.reply.text}".'
        if failure.reason is Reason.SMTP_TLS_CERTIFICATE_INVALID and self._certificate is not None:
            detail += f" It shows a {self._certificate.describe()}."
        return detail


async def _leave(session: Session) -> None:
    session.wire.quit("only looked")
    await asyncio.wait({session.wire.gone}, timeout=_LEAVE_SECONDS)


def _hurried(server: Server, greeting_seconds: float, reply_seconds: float) -> Server:
    """Return the server with waits that fit into a look."""
    usual = server.timeouts
    dial_seconds = min(_DIAL_SECONDS, greeting_seconds)
    return replace(
        server,
        timeouts=Timeouts(
            dns=min(usual.dns, dial_seconds),
            connection=min(usual.connection, dial_seconds),
            greeting=min(usual.greeting, greeting_seconds),
            socket=min(usual.socket, reply_seconds),
        ),
    )


def _out_of_time(server: Server, stage: Stage) -> Failure:
    return Failure(
        Reason.DEADLINE_EXCEEDED,
        f"The time for the check ran out at {stage}. Allow more time, or ask why {server.host} is slow.",
        stage=stage,
        host=server.host,
    )


def _tersely(step: ProbeStep) -> ProbeStep:
    """Return a step without what it tells of the network, and without the server's texts."""
    tells = step.stage in {*_CONNECTING, Stage.STARTTLS, Stage.MAIL, Stage.RCPT}
    return replace(step, detail="") if tells and step.status is StepStatus.PASSED else step


def _tell_nothing(server: Server, depth: Depth, seconds: float) -> Report:
    """Return the report of a look that ended before a server greeted."""
    failure = Failure(
        Reason.SMTP_CONNECT_FAILED,
        f"No SMTP server answers at {server.host} on port {server.port} as this configuration wants it. Check the host,"
        " the port and the TLS mode; whoever runs the service can see more.",
        stage=Stage.RESOLVE if depth is Depth.RESOLVE else Stage.CONNECT,
        host=server.host,
    )
    stages = plan(server, depth)
    course = Course(stages)
    if Stage.TOKEN in stages:
        course.pass_(Stage.TOKEN, "")
    course.fail(failure.stage, failure.message, seconds=seconds)
    steps = [replace(step, detail="") if step.status is StepStatus.SKIPPED else step for step in course.steps]
    return Report(steps=tuple(steps), failure=failure)
