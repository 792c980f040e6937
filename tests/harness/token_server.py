"""An OAuth 2.0 token end point on a real port with a real certificate, that answers as its script says.

An answer is a coroutine over the connection, once the request is read; a good token where the script has run out.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self, TypeAlias
from urllib.parse import parse_qsl

from harness.certificates import NAMES, authority

Answer: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One request as it arrived."""

    line: str
    headers: dict[str, str]
    """By lower-case name."""
    form: dict[str, str]
    server_name: str | None
    """What the client sent as SNI."""


def answers(status: int, body: bytes | str, **headers: str) -> Answer:
    """A whole response; in a header's name an underscore stands for a hyphen."""
    content = body.encode() if isinstance(body, str) else body
    head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Length: {len(content)}"]
    head += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join([*head, "", ""]).encode() + content)
        await writer.drain()

    return answer


def issues(access_token: str, **fields: object) -> Answer:
    """A token."""
    body = json.dumps({"access_token": access_token, "token_type": "Bearer", "expires_in": 3599, **fields})
    return answers(200, body, Content_Type="application/json")


def refuses(error: str, status: int = 400, **fields: object) -> Answer:
    """An error of RFC 6749, section 5.2."""
    return answers(status, json.dumps({"error": error, **fields}), Content_Type="application/json")


async def never_stops(writer: asyncio.StreamWriter) -> None:
    """A body that goes on for as long as the client reads."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        await writer.drain()


async def stops_in_the_body(writer: asyncio.StreamWriter) -> None:
    """A body whose end never comes."""
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"access_token": ')
    await writer.drain()
    await asyncio.Event().wait()


async def says_nothing(writer: asyncio.StreamWriter) -> None:
    """No response at all."""
    del writer
    await asyncio.Event().wait()


async def hangs_up(writer: asyncio.StreamWriter) -> None:
    """The connection is closed instead of a response."""
    writer.transport.abort()


class TokenServer:
    """Listens on a free port of 127.0.0.1 while its context is open.

    Args:
        script: The answers, in order.
        tls: Its certificate. None: a good one.
    """

    def __init__(self, *script: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.script = list(script)
        self.requests: list[TokenRequest] = []
        self.connections = 0
        """Those that finished the TLS handshake."""
        self.port = 0
        self._tls = tls or self._good_certificate()
        self._server: asyncio.Server
        self._serving: set[asyncio.Task[None]] = set()
        self._server_names: dict[int, str | None] = {}

    @property
    def url(self) -> str:
        """The end point's URL, by a name that only a test's resolver knows."""
        return self.url_of("mail.example.com")

    def url_of(self, host: str) -> str:
        """The end point's URL by another name."""
        return f"https://{host}:{self.port}/oauth2/token"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        results = await asyncio.gather(*self._serving, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):  # a mistake of the harness must not pass unseen
                raise result

    async def all_connections_ended(self) -> None:
        """Wait until the client has closed every connection or the server has answered on it."""
        while self._serving:
            await asyncio.wait(self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        self.connections += 1
        try:
            self.requests.append(await self._read_request(reader, writer))
            number = len(self.requests)
            await (self.script.pop(0) if self.script else issues(f"token-{number}"))(writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client has left
        finally:
            writer.transport.abort() if writer.is_closing() else writer.close()

    async def _read_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> TokenRequest:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        line, *fields = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        server_name = self._server_names.get(id(writer.get_extra_info("ssl_object")))
        return TokenRequest(line, headers, dict(parse_qsl(body.decode("ascii"), strict_parsing=True)), server_name)

    def _good_certificate(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority().issue_cert(*NAMES, "login.example.com").configure_cert(context)
        context.sni_callback = self._note_server_name
        return context

    def _note_server_name(self, connection: ssl.SSLObject, server_name: str | None, context: ssl.SSLContext) -> None:
        del context
        self._server_names[id(connection)] = server_name
