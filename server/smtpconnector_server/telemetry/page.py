"""The page of metrics that Prometheus reads: HTTP, in a thread of its own, at whatever path.

It looks nothing up in DNS, logs no request, and gives a slow reader up; it holds no secret and no personal data.
"""

from __future__ import annotations

import socket
import threading
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import make_wsgi_app

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_READER_SECONDS: Final = 10.0
"""For a request to come and for its answer to go."""

_log = structlog.get_logger()


class MetricsPage:
    """Serves a registry.

    Args:
        listen: HOST:PORT; port 0 takes a free one.
        registry: What to show.

    Raises:
        OSError: The address cannot be bound.
    """

    def __init__(self, listen: str, registry: CollectorRegistry) -> None:
        host, _, port = listen.rpartition(":")
        family, _, _, _, address = socket.getaddrinfo(
            host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        server_class = type("_FamilyServer", (_Server,), {"address_family": family})
        try:
            self._server: _Server = server_class((str(address[0]), int(address[1])), _Handler)
        except OSError as error:
            raise OSError(f"cannot serve metrics on {listen}: {error.strerror}") from error
        self._server.set_app(make_wsgi_app(registry))
        self.address = f"{host}:{self._server.server_address[1]}"
        """The address that is served, with the real port."""
        threading.Thread(target=self._server.serve_forever, name="metrics-page", daemon=True).start()
        _log.info("metrics_listening", address=self.address)

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(WSGIRequestHandler):
    timeout = _READER_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without looking the host's name up in DNS, as HTTPServer does and may wait long for."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a reader who went away."""
