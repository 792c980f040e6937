"""SASL (RFC 4422): one exchange of AUTH, without I/O.

aiosmtplib's own AUTH is not used: it tries the next mechanism after a refusal (three failed log-ins for one wrong
password), lets NUL and 0x01 into fields that they delimit, accepts a challenge that is not base64, and has no
OAUTHBEARER. Here one mechanism is tried once.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Final, Protocol

from smtpconnector_server.config.model import LoginAuth, LoginMechanism, TokenMechanism
from smtpconnector_server.failure import Failure, Reason, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smtpconnector_server.config.model import Auth, OAuth2Auth
    from smtpconnector_server.config.secret import Secret

MAX_COMMAND: Final = 512
"""Octets of an AUTH command with CRLF. A longer initial response waits for an empty challenge (RFC 4954, section 4)."""

_DELIMITER: Final = re.compile(r"[\x00-\x1f\x7f]")


class TokenProvider(Protocol):
    """Where OAuth 2.0 access tokens come from."""

    async def token(self, auth: OAuth2Auth, *, renew: bool) -> Secret:
        """Return an access token.

        Args:
            auth: Whose token, and how to get one.
            renew: The last one was refused: return another one, or the same where there is no other.

        Raises:
            Failure: There is none, with a reason OAUTH2_….
        """
        ...


class BadChallengeError(Exception):
    """The server sent a challenge that the mechanism does not know."""


class Exchange:
    """One AUTH exchange.

    Args:
        name: The mechanism.
        initial: The initial response. None: the mechanism begins with a challenge.
        respond: Answers a challenge by its number, from 0.

    Attributes:
        proof: What was made of the password for a challenge, if anything was: it can be tried against guesses.
    """

    def __init__(self, name: str, initial: bytes | None, respond: Callable[[int, bytes], bytes]) -> None:
        self.name = name
        self._initial = initial
        self._respond = respond
        self._challenges = 0
        self.proof = ""

    def command(self) -> bytes:
        """Return the AUTH command without CRLF."""
        command = b"AUTH " + self.name.encode()
        if self._initial is not None:
            with_initial = command + b" " + (b64encode(self._initial) or b"=")
            if len(with_initial) + 2 <= MAX_COMMAND:
                self._initial = None
                return with_initial
        return command

    def answer(self, challenge: str) -> bytes:
        """Return the line that answers a challenge, without CRLF.

        Args:
            challenge: The text of the 334 reply.

        Raises:
            BadChallengeError: It is not base64, or one too many.
        """
        if self._initial is not None:
            response, self._initial = self._initial, None
            return b64encode(response)
        try:
            octets = b64decode(challenge.strip(), validate=True)
        except ValueError as error:
            raise BadChallengeError("a challenge that is not base64") from error
        number, self._challenges = self._challenges, self._challenges + 1
        return b64encode(self._respond(number, octets))


def login_exchange(auth: LoginAuth, offered: Sequence[str], *, host: str) -> Exchange:
    """Return the exchange for a user name and a password.

    Raises:
        Failure: The server offers no mechanism that fits, or the credentials cannot be sent by any.
    """
    name = _choose(LoginMechanism, auth.mechanism, offered, host=host)
    user, password = _field(auth.user), _field(auth.password.reveal())
    match LoginMechanism(name):
        case LoginMechanism.PLAIN:  # RFC 4616
            return Exchange(name, b"\0%b\0%b" % (user, password), _refuse)
        case LoginMechanism.LOGIN:  # draft-murchison-sasl-login; servers differ in what they ask and not in the order
            return Exchange(name, None, lambda number, _challenge: _nth((user, password), number))
        case LoginMechanism.CRAM_MD5:  # RFC 2195

            def respond(number: int, challenge: bytes) -> bytes:
                exchange.proof = hmac.digest(password, challenge, "md5").hex()
                return _nth((user + b" " + exchange.proof.encode(),), number)

            exchange = Exchange(name, None, respond)
            return exchange


def token_exchange(auth: OAuth2Auth, token: Secret, offered: Sequence[str], *, host: str, port: int) -> Exchange:
    """Return the exchange for an access token.

    Raises:
        Failure: The server offers no mechanism that fits, or the token cannot be sent by any.
    """
    name = _choose(TokenMechanism, auth.mechanism, offered, host=host)
    user, bearer = _field(auth.user), _field(token.reveal())
    match TokenMechanism(name):
        case TokenMechanism.XOAUTH2:
            # A challenge is the error in JSON; an empty line fetches the reply.
            return Exchange(
                name, b"user=%b\1auth=Bearer %b\1\1" % (user, bearer), lambda number, _error: _nth((b"",), number)
            )
        case TokenMechanism.OAUTHBEARER:  # RFC 7628; the authzid is escaped as RFC 5801, section 4, wants
            authzid = user.replace(b"=", b"=3D").replace(b",", b"=2C")
            initial = b"n,a=%b,\1host=%b\1port=%d\1auth=Bearer %b\1\1" % (authzid, host.encode(), port, bearer)
            return Exchange(name, initial, lambda number, _error: _nth((b"\1",), number))


def choose_mechanism(auth: Auth, offered: Sequence[str], *, host: str) -> str:
    """Return the mechanism that would be used.

    Raises:
        Failure: The server offers none that fits.
    """
    kind = LoginMechanism if isinstance(auth, LoginAuth) else TokenMechanism
    return _choose(kind, auth.mechanism, offered, host=host)


def _choose(
    kind: type[LoginMechanism | TokenMechanism],
    wanted: LoginMechanism | TokenMechanism | None,
    offered: Sequence[str],
    *,
    host: str,
) -> str:
    names: list[str] = [wanted.value] if wanted else [mechanism.value for mechanism in kind]
    for name in names:
        if name in offered:
            return name
    wish = " or ".join(names)
    offer = f"offers {', '.join(offered)}, but not {wish}" if offered else f"does not offer AUTH (wanted: {wish})"
    raise Failure(
        Reason.SMTP_AUTH_UNSUPPORTED,
        f"Credentials are configured and {host} {offer}. Change the kind of credentials or the port, or remove them.",
        stage=Stage.AUTH,
        host=host,
    )


def _field(text: str) -> bytes:
    """Return a field of a response; the octets that delimit fields must not be in it."""
    if _DELIMITER.search(text):
        raise Failure(
            Reason.INVALID_CONFIG,
            "The user name, the password or the token holds a control character, which AUTH cannot carry.",
            stage=Stage.AUTH,
        )
    return text.encode()


def _nth(responses: tuple[bytes, ...], number: int) -> bytes:
    if number >= len(responses):
        raise BadChallengeError("one challenge too many")
    return responses[number]


def _refuse(number: int, _challenge: bytes) -> bytes:
    return _nth((), number)
