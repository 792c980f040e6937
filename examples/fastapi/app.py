"""A backend that mails verification codes: POST /codes sends one.

Invariant: the status of an answer says what is true of the mail. 200: the SMTP server has it. 202: it may have it.
Every other one: it was not sent.
"""

from __future__ import annotations

import logging
import os
import secrets
from contextlib import asynccontextmanager
from math import ceil
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from smtpconnector import (
    AsyncClient,
    DeliveryUncertain,
    InvalidRequest,
    RateLimited,
    RecipientRejected,
    SmtpConnectorError,
    UsageType,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

logger = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client for the whole life of the process: it belongs to the loop that serves."""
    target = os.environ.get("SMTPCONNECTOR_TARGET", "127.0.0.1:50051")
    async with AsyncClient(target, token=os.environ.get("SMTPCONNECTOR_TOKEN"), timeout=10) as mail:
        app.state.mail = mail
        app.state.codes = {}  # your database, with an end to each code's life
        yield


app = FastAPI(lifespan=lifespan)


class CodeRequest(BaseModel):
    """Who wants a code."""

    email: str = Field(max_length=254)


@app.post("/codes")
async def send_code(wanted: CodeRequest, http: Request) -> dict[str, str]:
    """Mail a new code; answer when the SMTP server has accepted the mail."""
    code = f"{secrets.randbelow(10**6):06}"
    # Kept before it is sent: a mail of which nobody knows whether it arrived must hold a code that works.
    http.app.state.codes[wanted.email] = code
    mail: AsyncClient = http.app.state.mail
    client_ip = http.client.host if http.client else ""
    await mail.send_message(wanted.email, UsageType.SIGN_IN, {"code": code}, client_ip=client_ip)
    return {"detail": "The code was sent."}


@app.exception_handler(SmtpConnectorError)
async def answer_for(_: Request, error: SmtpConnectorError) -> JSONResponse:
    """Say what a person can do; tell the rest to the log."""
    if isinstance(error, DeliveryUncertain):
        return _answer(202, "The code may or may not arrive. Look for it before you ask for another.")
    if isinstance(error, (InvalidRequest, RecipientRejected)):
        return _answer(422, "No mail can be sent to this address. Correct it, or give another.")
    if isinstance(error, RateLimited):
        return _answer(429, "Too many codes were asked for. Try again later.", error.retry_after or 60)
    logger.error("no code was sent: %s", error)  # holds neither the address nor the code
    if error.may_retry:  # Unavailable, DeadlineExceeded, Cancelled
        return _answer(503, "The code was not sent. Try again in a moment.", error.retry_after or 5)
    return _answer(500, "The code was not sent. Trying again does not help until we have put this right.")


def _answer(status: int, detail: str, retry_after: float | None = None) -> JSONResponse:
    headers = {} if retry_after is None else {"Retry-After": str(ceil(retry_after))}
    return JSONResponse({"detail": detail}, status, headers)
