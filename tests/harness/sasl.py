"""The server's part of the SASL mechanisms that the scripted server offers.

A mechanism is a coroutine: ``ask`` sends a challenge and returns the client's response, both without base64; the result
says whether the credentials are right.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

Ask: TypeAlias = Callable[[bytes], Awaitable[bytes]]

CRAM_CHALLENGE = b"<1896.697170952@mail.example.com>"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the scripted server lets in."""

    user: str = "sender@example.com"
    password: str = "correct horse"
    token: str = "ya29.token"


async def plain(ask: Ask, initial: bytes | None, credentials: Credentials) -> bool:
    """RFC 4616."""
    response = await ask(b"") if initial is None else initial
    return response == f"\0{credentials.user}\0{credentials.password}".encode()


async def login(ask: Ask, initial: bytes | None, credentials: Credentials) -> bool:
    """Never a standard, everywhere in use (draft-murchison-sasl-login)."""
    user = await ask(b"Username:") if initial is None else initial
    password = await ask(b"Password:")
    return (user, password) == (credentials.user.encode(), credentials.password.encode())


async def cram_md5(ask: Ask, initial: bytes | None, credentials: Credentials) -> bool:
    """RFC 2195."""
    response = await ask(CRAM_CHALLENGE)
    digest = hmac.new(credentials.password.encode(), CRAM_CHALLENGE, "md5").hexdigest()
    return initial is None and response == f"{credentials.user} {digest}".encode()


async def xoauth2(ask: Ask, initial: bytes | None, credentials: Credentials) -> bool:
    """Google's and Microsoft's: a wrong token gets a challenge with the error, answered by an empty response."""
    response = await ask(b"") if initial is None else initial
    is_right = response == f"user={credentials.user}\x01auth=Bearer {credentials.token}\x01\x01".encode()
    if not is_right:
        await ask(json.dumps({"status": "400", "schemes": "Bearer"}).encode())
    return is_right


async def oauthbearer(ask: Ask, initial: bytes | None, credentials: Credentials) -> bool:
    """RFC 7628: a wrong token gets a challenge with the error, answered by a single 0x01."""
    response = await ask(b"") if initial is None else initial
    header, _, rest = response.partition(b"\x01")
    is_right = (
        header == f"n,a={credentials.user},".encode()
        and f"auth=Bearer {credentials.token}".encode() in rest.split(b"\x01")
        and rest.endswith(b"\x01\x01")
    )
    if not is_right:
        await ask(json.dumps({"status": "invalid_token"}).encode())
    return is_right


MECHANISMS = {
    b"PLAIN": plain,
    b"LOGIN": login,
    b"CRAM-MD5": cram_md5,
    b"XOAUTH2": xoauth2,
    b"OAUTHBEARER": oauthbearer,
}
