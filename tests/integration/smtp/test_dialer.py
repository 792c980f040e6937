from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from smtpconnector_server.config.model import Server, Timeouts, TlsMode
from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.smtp.dialer import AllowAll, Dialer, _in_turns
from smtpconnector_server.smtp.resolver import IpAddress, Resolver

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def server(port: int, host: str = "mail.example", **timeouts: float) -> Server:
    return Server(host=host, port=port, tls_mode=TlsMode.DISABLED, timeouts=Timeouts(**timeouts))


def answering(*addresses: str) -> Resolver:
    return Resolver(lambda _host: tuple(ipaddress.ip_address(address) for address in addresses))


def raising(error: Exception) -> Resolver:
    def lookup(_host: str) -> Sequence[IpAddress]:
        raise error

    return Resolver(lookup)


@contextmanager
def listening(address: str = "127.0.0.1", port: int = 0, *, is_deaf: bool = False) -> Iterator[int]:
    """Listen; a deaf listener's queue is full, so that the kernel answers nobody."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0 if is_deaf else 16)
        for _ in range(4 if is_deaf else 0):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003 - the standard library's signature
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def failure_of(dialer: Dialer, to: Server) -> Failure:
    with pytest.raises(Failure) as raised:
        await dialer.dial(to)
    return raised.value


async def test_hands_over_a_connected_socket_that_sends_at_once() -> None:
    with listening() as port:
        connected = await Dialer(resolver=answering("127.0.0.1")).dial(server(port))
        with connected:
            assert connected.getpeername() == ("127.0.0.1", port)
            assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert connected.gettimeout() == 0.0


async def test_looks_a_name_up_once_and_an_address_never() -> None:
    asked: list[str] = []

    def lookup(host: str) -> Sequence[IpAddress]:
        asked.append(host)
        return (ipaddress.ip_address("127.0.0.1"),)

    dialer = Dialer(resolver=Resolver(lookup))
    with listening() as port:
        for host in ("mail.example", "127.0.0.1"):
            (await dialer.dial(server(port, host))).close()
    assert asked == ["mail.example"]


async def test_asks_the_policy_about_every_address_before_it_connects() -> None:
    class NothingPrivate(AllowAll):
        def vet(self, host: str, port: int, addresses: Sequence[IpAddress]) -> None:
            asked.append((host, port, [str(address) for address in addresses]))
            if any(address.is_private for address in addresses):
                raise Failure(Reason.EGRESS_DENIED, "not there", stage=Stage.RESOLVE, host=host)

    asked: list[tuple[str, int, list[str]]] = []
    with listening() as port:
        failure = await failure_of(
            Dialer(policy=NothingPrivate(), resolver=answering("1.1.1.1", "127.0.0.1")), server(port)
        )
    assert failure.reason is Reason.EGRESS_DENIED
    assert asked == [("mail.example", port, ["1.1.1.1", "127.0.0.1"])]


async def test_connects_to_the_address_that_the_policy_saw_whatever_the_name_says_later() -> None:
    class OnlyFirst(AllowAll):
        def vet(self, host: str, port: int, addresses: Sequence[IpAddress]) -> None:
            seen.extend(addresses)

    answers = iter(["127.0.0.1", "127.0.0.2", "127.0.0.3"])
    seen: list[IpAddress] = []
    dialer = Dialer(policy=OnlyFirst(), resolver=Resolver(lambda _host: (ipaddress.ip_address(next(answers)),)))
    with listening("0.0.0.0") as port, await dialer.dial(server(port)) as connected:
        assert [str(address) for address in seen] == [connected.getpeername()[0]] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), Reason.SMTP_DNS_NOT_FOUND),
        (socket.gaierror(socket.EAI_AGAIN, "later"), Reason.SMTP_DNS_TEMPORARY),
        (socket.gaierror(socket.EAI_FAIL, "failed"), Reason.SMTP_DNS_TEMPORARY),
        (UnicodeError("label too long"), Reason.SMTP_DNS_NOT_FOUND),
    ],
)
async def test_tells_a_name_that_does_not_exist_from_a_look_up_that_failed(error: Exception, reason: Reason) -> None:
    failure = await failure_of(Dialer(resolver=raising(error)), server(25))
    assert (failure.reason, failure.stage, failure.host) == (reason, Stage.RESOLVE, "mail.example")


async def test_a_name_without_address_does_not_exist() -> None:
    assert (await failure_of(Dialer(resolver=answering()), server(25))).reason is Reason.SMTP_DNS_NOT_FOUND


async def test_a_look_up_that_hangs_ends_in_time_and_delays_no_other() -> None:
    released = threading.Event()

    def lookup(host: str) -> Sequence[IpAddress]:
        if host == "dead.example":
            released.wait()
        return (ipaddress.ip_address("127.0.0.1"),)

    dialer = Dialer(resolver=Resolver(lookup))
    with listening() as port:
        hanging = [asyncio.create_task(failure_of(dialer, server(port, "dead.example", dns=0.2))) for _ in range(100)]
        await asyncio.sleep(0)
        (await dialer.dial(server(port))).close()
        assert not any(task.done() for task in hanging)
        assert {failure.reason for failure in await asyncio.gather(*hanging)} == {Reason.SMTP_DNS_TEMPORARY}
        assert sum(thread.name == "smtp-resolver" for thread in threading.enumerate()) == 1
        released.set()


async def test_hung_look_ups_are_bounded() -> None:
    released = threading.Event()
    dialer = Dialer(resolver=Resolver(lambda _host: (released.wait(), ())[1]))
    hanging = [asyncio.create_task(failure_of(dialer, server(25, f"dead{n}.example", dns=0.2))) for n in range(40)]
    assert {failure.reason for failure in await asyncio.gather(*hanging)} == {Reason.SMTP_DNS_TEMPORARY}
    assert sum(thread.name == "smtp-resolver" for thread in threading.enumerate()) <= 32
    released.set()


async def test_a_refused_connection_is_said_in_words() -> None:
    with listening() as port:
        pass
    failure = await failure_of(Dialer(resolver=answering("127.0.0.1")), server(port))
    assert (failure.reason, failure.stage) == (Reason.SMTP_CONNECT_FAILED, Stage.CONNECT)
    assert "nothing listens there" in failure.message


async def test_a_server_that_does_not_answer_is_given_up_in_time() -> None:
    with listening(is_deaf=True) as port:
        failure = await failure_of(Dialer(resolver=answering("127.0.0.1")), server(port, connection=0.2))
    assert failure.reason is Reason.SMTP_CONNECT_TIMEOUT


@pytest.mark.parametrize("first", ["refused", "deaf"])
async def test_goes_on_to_the_next_address(first: str) -> None:
    with listening("127.0.0.1") as port, ExitStack() as stack:
        if first == "deaf":
            stack.enter_context(listening("127.0.0.2", port, is_deaf=True))
        dialer = Dialer(resolver=answering("127.0.0.2", "127.0.0.1"))
        with await dialer.dial(server(port)) as connected:
            assert connected.getpeername()[0] == "127.0.0.1"


def test_tries_the_families_in_turns() -> None:
    addresses = [ipaddress.ip_address(text) for text in ("2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2")]
    in_turns = [str(address) for address in _in_turns(addresses, None)]
    assert in_turns == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"]
    assert [str(address) for address in _in_turns(addresses, "10.0.0.1")] == ["192.0.2.1", "192.0.2.2"]


async def test_comes_from_the_local_address_it_was_told() -> None:
    with listening() as port:
        to = replace(server(port), local_address="127.0.0.9")
        with await Dialer(resolver=answering("127.0.0.1")).dial(to) as connected:
            assert connected.getsockname()[0] == "127.0.0.9"
        failure = await failure_of(Dialer(resolver=answering("::1")), to)
        assert failure.reason is Reason.SMTP_CONNECT_FAILED


async def test_a_cancelled_dial_leaves_no_socket(recwarn: pytest.WarningsRecorder) -> None:
    with listening(is_deaf=True) as port:
        dialing = asyncio.create_task(Dialer(resolver=answering("127.0.0.1")).dial(server(port)))
        await asyncio.sleep(0.05)
        dialing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialing
    assert not recwarn.list
