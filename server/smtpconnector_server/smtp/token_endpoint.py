"""A token end point by HTTPS: one POST, one answer, and nothing that a hostile end point could turn against us.

https only, to an address that the policy has seen and to no other, certificate verified for the URL's host, no
redirect, no proxy, no cookie, no decompression, at most 64 KiB, all within one bound of time.
"""

from __future__ import annotations

import asyncio
import ssl
from importlib import import_module
from typing import TYPE_CHECKING, Final

from smtpconnector_server import __version__
from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.smtp.token_response import HttpAnswer, unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import httpx2

    from smtpconnector_server.smtp.dialer import DialPolicy
    from smtpconnector_server.smtp.resolver import IpAddress, Resolver

_TIMEOUT_SECONDS: Final = 5.0
_CONNECT_TIMEOUT_SECONDS: Final = 2.0
"""For one address, so that a dead one leaves time for the next."""
_MAX_BODY_OCTETS: Final = 65536
_HTTPS_PORT: Final = 443
_MAX_PORT: Final = 65535


class TokenEndpoint:
    """Posts forms to token end points.

    A connection serves one request and is closed: requests are an hour apart, and a connection kept by its address
    would answer for whichever host of that address asked first.

    Args:
        resolver: Looks up names.
        policy: Says where connections may go.
        tls: Whose certificates are trusted. None: the system's.
        timeout: Seconds for everything from the look-up of the name to the last octet of the answer.
    """

    def __init__(
        self,
        *,
        resolver: Resolver,
        policy: DialPolicy,
        tls: ssl.SSLContext | None = None,
        timeout: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._resolver = resolver
        self._policy = policy
        self._tls = tls
        self._timeout = timeout

    async def __call__(self, url: str, form: Mapping[str, str]) -> HttpAnswer:
        """POST a form and return the answer, whatever its status.

        Raises:
            Failure: OAUTH2_ENDPOINT_UNAVAILABLE if there is no answer, INVALID_CONFIG if the URL is not https; the
                policy's if it refuses the target.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(url, form)
        except TimeoutError:
            pass
        raise unavailable(f"did not answer within {self._timeout:g} s")

    async def _post(self, url: str, form: Mapping[str, str]) -> HttpAnswer:
        # 100 ms of imports and of reading roots at the first request, off the loop.
        await asyncio.to_thread(import_module, "httpx2")
        import httpx2  # noqa: PLC0415

        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        target = _parse(url)
        host = target.raw_host.decode("ascii")
        addresses = await self._addresses(host, target.port or _HTTPS_PORT)
        headers = {
            "Host": target.netloc.decode("ascii"),
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"smtpconnector/{__version__}",
        }
        timeout = httpx2.Timeout(self._timeout, connect=_CONNECT_TIMEOUT_SECONDS)
        fault = "cannot be reached"
        async with httpx2.AsyncClient(verify=self._tls, trust_env=False, timeout=timeout) as client:
            for address in addresses:
                request = client.stream(
                    "POST",
                    target.copy_with(host=str(address)),
                    data=dict(form),
                    headers=headers,
                    extensions={"sni_hostname": host},
                )
                try:
                    async with request as response:
                        return HttpAnswer(
                            response.status_code, await _read(response), response.headers.get("retry-after", "")
                        )
                except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                    if _is_certificate_fault(error):
                        fault = "has a certificate that is not trusted, or not for its host"
                except (httpx2.HTTPError, OSError):
                    fault = "broke off the connection"
                    break
        # Out here, because the exceptions above hold the request and its secrets.
        raise unavailable(fault)

    async def _addresses(self, host: str, port: int) -> Sequence[IpAddress]:
        try:
            addresses = await self._resolver.resolve(host, within=self._timeout)
        except Failure as failure:
            is_unknown = failure.reason is Reason.SMTP_DNS_NOT_FOUND
            fault = "has no address; check the token URL" if is_unknown else "cannot be looked up for the moment"
            raise unavailable(fault) from failure
        self._policy.vet(host, port, addresses)
        return addresses


def _parse(url: str) -> httpx2.URL:
    import httpx2  # noqa: PLC0415

    try:
        target = httpx2.URL(url)
    except httpx2.InvalidURL:
        target = httpx2.URL()
    is_good_port = target.port is None or 0 < target.port <= _MAX_PORT
    if target.scheme != "https" or not target.host or target.userinfo or not is_good_port:
        raise Failure(
            Reason.INVALID_CONFIG,
            "The OAuth 2.0 token URL is not an https URL with a host and without a user name.",
            stage=Stage.TOKEN,
        )
    return target


async def _read(response: httpx2.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > _MAX_BODY_OCTETS:
            raise unavailable(f"answered with more than {_MAX_BODY_OCTETS} octets; check the token URL")
    return bytes(body)


def _is_certificate_fault(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
