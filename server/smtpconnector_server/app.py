"""The composition root: settings in, running server out. The only module that knows every room."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

import structlog

from smtpconnector_server.config.origin import Origin
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.delivery.sender import Sender
from smtpconnector_server.outbox.changes import Changes
from smtpconnector_server.outbox.deliveries import Deliveries
from smtpconnector_server.outbox.lease import Leases
from smtpconnector_server.outbox.outbox import Outbox
from smtpconnector_server.outbox.runner import Runner
from smtpconnector_server.outbox.shared_pauses import SharedPauses
from smtpconnector_server.outbox.worker import Worker
from smtpconnector_server.reload import ProfileFiles
from smtpconnector_server.rpc.callers import Callers, CallersFile
from smtpconnector_server.rpc.certificates import ServerCertificate
from smtpconnector_server.rpc.configurations import Configurations
from smtpconnector_server.rpc.delivery_servicer import DeliveryServicer
from smtpconnector_server.rpc.limits import Limits, LimitSettings
from smtpconnector_server.rpc.metadata import to_metadata_response
from smtpconnector_server.rpc.server import RpcServer
from smtpconnector_server.rpc.servicer import ConnectorServicer
from smtpconnector_server.rpc.shared_rates import SharedRates
from smtpconnector_server.smtp.dialer import AllowAll, Dialer
from smtpconnector_server.smtp.oauth2 import TokenCache
from smtpconnector_server.smtp.pool import SessionPool
from smtpconnector_server.smtp.probe import Probe
from smtpconnector_server.smtp.resolver import Resolver
from smtpconnector_server.smtp.target import HTTPS_PORTS, PublicTargets, parse_target
from smtpconnector_server.smtp.token_endpoint import TokenEndpoint
from smtpconnector_server.store.location import OpenStore, open_store
from smtpconnector_server.store.timed import TimedStore
from smtpconnector_server.telemetry.adapters import Telemetry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    import grpc

    from smtpconnector_server.config.profile import Profile
    from smtpconnector_server.settings import Settings
    from smtpconnector_server.smtp.dialer import DialPolicy
    from smtpconnector_server.smtp.oauth2 import RefreshTokenRotated
    from smtpconnector_server.telemetry.hook import Hook

_POOL_CLOSE_SECONDS: Final = 2.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Running:
    """A server that serves."""

    address: str
    """HOST:PORT, with the real port."""
    profile_files: ProfileFiles
    metrics_address: str | None
    """HOST:PORT of the metrics; None where this process serves none."""


@asynccontextmanager
async def running_server(
    settings: Settings, profiles: dict[str, Profile], *, shared_address: str | None = None
) -> AsyncIterator[Running]:
    """Serve inside the context; drain on leaving it.

    Args:
        settings: The server's settings.
        profiles: The configurations that callers can name.
        shared_address: The address, if other processes of this service serve it as well. None: the settings' own.

    Raises:
        BindError: The address cannot be bound.
        CallersError: The file of callers cannot be used.
        CertificateError: The server's certificate cannot be used.
        LocationError: The store cannot be opened.
        OSError: The address of the metrics cannot be bound.
    """
    telemetry = Telemetry(settings, profiles, is_worker=shared_address is not None)
    hook = telemetry.hook()
    reaches = _reaches(settings, telemetry)
    pools = {origin: reach.pool for origin, reach in reaches.items()}
    probes = {origin: Probe(reach.pool.opener) for origin, reach in reaches.items()}
    sender = Sender(pools, hook=hook)
    configurations = Configurations(profiles)
    files = ProfileFiles(settings.profile, configurations.replace)
    key = Secret(settings.store_key.get_secret_value()) if settings.store_key is not None else None
    async with open_store(settings.store, key) as opened, telemetry.running(pools, sender) as metrics_address:
        kept = OpenStore(TimedStore(opened.store, hook), opened.sealer) if opened is not None else None
        delivery = _Durable.assemble(kept, sender, configurations, settings, hook) if kept is not None else None
        limits = Limits(_limits(settings), SharedRates(kept.store, kept.sealer, hook) if kept is not None else None)
        server = RpcServer(
            ConnectorServicer(
                configurations,
                sender,
                probes,
                limits,
                delivery.outbox if delivery is not None else None,
                to_metadata_response(),
                hook,
            ),
            DeliveryServicer(delivery.deliveries if delivery is not None else None, limits),
            shared_address or settings.listen,
            hook=hook,
            shares_port=shared_address is not None,
            callers=_callers(settings),
            credentials=_credentials(settings),
        )
        following = [asyncio.create_task(files.follow(), name="profile-files")]
        if kept is not None and delivery is not None:
            await delivery.worker.start()
            pauses = SharedPauses(kept.store, kept.sealer, pools[Origin.PROFILE])
            following.append(asyncio.create_task(pauses.follow(), name="shared-pauses"))
        await server.start()
        if delivery is not None:
            health = server.follow_store(lambda: delivery.leases.is_store_there)
            following.append(asyncio.create_task(health, name="store-health"))
        try:
            yield Running(server.address, files, metrics_address)
        finally:
            for task in following:
                task.cancel()
            await _drain(server, sender, delivery, settings.grace)
            for reach in reaches.values():
                await reach.pool.close(_POOL_CLOSE_SECONDS)
                await reach.tokens.aclose()


@dataclass(frozen=True, slots=True)
class _Durable:
    """What delivers the messages of the store."""

    outbox: Outbox
    worker: Worker
    leases: Leases
    deliveries: Deliveries

    @classmethod
    def assemble(
        cls, kept: OpenStore, sender: Sender, configurations: Configurations, settings: Settings, hook: Hook
    ) -> Self:
        store, sealer = kept.store, kept.sealer
        leases = Leases(store)
        runner = Runner(store, sealer, sender, configurations.restore, hook=hook)
        worker = Worker(store, runner, leases, retention=settings.store_retention, hook=hook)
        changes = Changes(store)
        outbox = Outbox(store, sealer, worker, leases, changes, hook=hook)
        return cls(outbox, worker, leases, Deliveries(store, sealer, changes))


async def _drain(server: RpcServer, sender: Sender, delivery: _Durable | None, grace: float) -> None:
    """Let what runs come to its end for ``grace`` seconds."""
    ends = asyncio.get_running_loop().time() + grace
    if delivery is not None:
        delivery.worker.stop_claiming()
    await server.drain(grace)
    if delivery is not None:
        await delivery.outbox.drain(ends - asyncio.get_running_loop().time())
    with suppress(TimeoutError):
        async with asyncio.timeout_at(ends):
            await sender.drain()  # mails whose callers have their answer


@dataclass(frozen=True, slots=True)
class _Reach:
    """What goes out to the network under one policy."""

    pool: SessionPool
    tokens: TokenCache


def _reaches(settings: Settings, telemetry: Telemetry) -> dict[Origin, _Reach]:
    """Keep what callers bring apart from the operator's own: it goes elsewhere and shares nothing but look-ups."""
    resolver = Resolver()
    allowed = [parse_target(target) for target in settings.allow_target]
    policies: dict[Origin, tuple[DialPolicy, DialPolicy]] = {
        Origin.PROFILE: (AllowAll(), AllowAll()),
        Origin.CALLER: (PublicTargets(allowed), PublicTargets(allowed, ports=HTTPS_PORTS)),
    }
    reaches = {}
    for origin, (smtp_policy, https_policy) in policies.items():
        hook = telemetry.hook(origin)
        tokens = TokenCache(
            TokenEndpoint(resolver=resolver, policy=https_policy), on_rotation=_tell_of_rotation, hook=hook
        )
        reaches[origin] = _Reach(
            SessionPool(dialer=Dialer(policy=smtp_policy, resolver=resolver), tokens=tokens, hook=hook), tokens
        )
    return reaches


def _limits(settings: Settings) -> LimitSettings:
    return LimitSettings(
        calls=settings.max_calls,
        calls_per_caller=settings.max_calls_per_caller,
        recipient=settings.limit_recipient,
        client_ip=settings.limit_client_ip,
        profile=settings.limit_profile,
    )


def _callers(settings: Settings) -> Callers | CallersFile | None:
    if settings.auth_tokens is not None:
        return CallersFile(settings.auth_tokens)
    return Callers(any_certificate=True) if settings.tls_client_ca is not None else None


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return ServerCertificate(settings.tls_cert, settings.tls_key, settings.tls_client_ca).credentials()


def _tell_of_rotation(rotated: RefreshTokenRotated) -> None:
    # It goes on in memory; after a restart only the one in the configuration is left, which may be void by then.
    host = urlsplit(rotated.token_url).hostname
    _log.warning("oauth2_refresh_token_rotated", client_id=rotated.client_id, token_host=host)


async def serve(
    settings: Settings,
    profiles: dict[str, Profile],
    *,
    on_ready: Callable[[str], None],
    shared_address: str | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends at once.

    Args:
        settings: The server's settings.
        profiles: The configurations that callers can name.
        on_ready: Told the real address once calls are answered.
        shared_address: As for :func:`running_server`.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            sys.exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    async with running_server(settings, profiles, shared_address=shared_address) as server:
        loop.add_signal_handler(signal.SIGHUP, server.profile_files.ask)
        gc.freeze()  # what has been made so far stays: no collection under load has to walk it
        on_ready(server.address)
        await stop.wait()
        _log.info("server_draining", grace_seconds=settings.grace)
    _log.info("server_stopped")


def run(main: Coroutine[None, None, None]) -> None:
    """Run a coroutine on uvloop where it is installed (it is not on Windows), else on asyncio's own loop."""
    try:
        import uvloop  # noqa: PLC0415 - absent on Windows
    except ImportError:
        asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)
