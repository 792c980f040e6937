"""The boundary between gRPC and the service: every call gets a request id, a log line and an honest status.

What a handler raises never reaches the caller as text, because an exception's text may hold a secret: a
:class:`Failure` becomes its status, anything else becomes INTERNAL with a fixed text and the request id.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
import structlog
from google.protobuf.message import DecodeError

from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.rpc.callers import CALLER
from smtpconnector_server.rpc.events import CallEnded, CallStarted
from smtpconnector_server.rpc.status import CODES, to_status, trailing_metadata

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from google.protobuf.message import Message

    from smtpconnector_server.rpc.callers import Callers, CallersFile, Metadata
    from smtpconnector_server.rpc.events import CallHook
    from smtpconnector_server.rpc.streaming import Streams

    Handler = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Any]]

_REQUEST_ID_KEY: Final = "x-request-id"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

_log = structlog.get_logger()


class BoundaryInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the methods of our services; those of others (health, reflection) pass untouched.

    Args:
        services: Their full names, and whether a failure of theirs says what is true of a mail.
        callers: Who may call. None: anybody.
        hook: Told of every call.
        streams: Answers the methods that answer with a stream.
    """

    def __init__(
        self, services: Mapping[str, bool], callers: Callers | CallersFile | None, hook: CallHook, streams: Streams
    ) -> None:
        self._services = services
        self._callers = callers
        self._hook = hook
        self._streams = streams
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        """By method: wrapping one for each call would cost a tenth of what gRPC itself does for it."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the method's handler, wrapped. Decoding happens inside, so that its errors are ours to word."""
        method = handler_call_details.method
        if method in self._wrapped:
            return self._wrapped[method]
        handler = await continuation(handler_call_details)
        service, _, name = method[1:].partition("/")
        if handler is None or service not in self._services:
            return handler
        # The stubs describe the synchronous server only; here behaviours are coroutine functions.
        behaviour: Any = handler.unary_unary
        decode: Any = handler.request_deserializer
        wrap: Any = grpc.unary_unary_rpc_method_handler
        if handler.response_streaming:
            streaming: Any = handler.unary_stream
            behaviour, wrap = self._streams.handler(streaming), grpc.unary_stream_rpc_method_handler
        call = _Method(service, name, is_about_mail=self._services[service])
        wrapped: grpc.RpcMethodHandler[Any, Any] = wrap(
            _guarded(behaviour, decode, call, self._callers, self._hook),
            request_deserializer=None,
            response_serializer=handler.response_serializer,
        )
        self._wrapped[method] = wrapped
        return wrapped


@dataclass(frozen=True, slots=True)
class _Method:
    service: str
    name: str
    is_about_mail: bool


def _guarded(
    behaviour: Handler,
    decode: Callable[[bytes], Message],
    called: _Method,
    callers: Callers | CallersFile | None,
    hook: CallHook,
) -> Handler:
    method = called.name

    async def call(octets: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
        metadata = context.invocation_metadata() or ()
        request_id = _request_id(metadata)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id, method=method)
        started = time.monotonic()
        hook(CallStarted(method, metadata, called.service))
        failure = None
        try:
            if callers is not None:
                CALLER.set(callers.identify(metadata, context.auth_context()))
            response: Message = await behaviour(_decoded(octets, decode), context)
        except Failure as refused:
            failure = refused
        except grpc.aio.AbortError:
            raise
        except asyncio.CancelledError:
            if _is_cancelled_from_outside():
                seconds = time.monotonic() - started
                _log.info("call_cancelled", milliseconds=_milliseconds(seconds))
                hook(CallEnded(method, "CANCELLED", None, seconds))
                raise
            failure = _defect(request_id, asyncio.CancelledError())
        except Exception as error:  # noqa: BLE001 - the last line of defence
            failure = _defect(request_id, error)
        seconds = time.monotonic() - started
        _log_end(seconds, failure, is_about_mail=called.is_about_mail)
        if failure is None:
            hook(CallEnded(method, "OK", None, seconds))
            return response
        hook(CallEnded(method, CODES[failure.reason].name, failure, seconds))
        return await _abort(context, failure, is_about_mail=called.is_about_mail)

    return call


def _decoded(octets: bytes, decode: Callable[[bytes], Message]) -> Message:
    try:
        return decode(octets)
    except DecodeError:
        raise Failure(
            Reason.INVALID_REQUEST,
            "The request is not a valid message. Check that its strings are UTF-8 and its JSON at most 16 levels deep.",
            stage=Stage.REQUEST,
        ) from None


def _is_cancelled_from_outside() -> bool:
    """Tell a call that was cancelled from a stray CancelledError, which would leave the caller without an answer."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _abort(context: grpc.aio.ServicerContext[Any, Any], failure: Failure, *, is_about_mail: bool) -> Message:
    status = to_status(failure, is_about_mail=is_about_mail)
    await context.abort(
        CODES[failure.reason], status.message, trailing_metadata(failure, status, remaining=context.time_remaining())
    )
    raise AssertionError("abort always raises")  # pragma: no cover


def _defect(request_id: str, error: BaseException) -> Failure:
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    _log.error("call_broke", error_type=type(error).__qualname__, frames=frames[-12:])
    return Failure(
        Reason.INTERNAL,
        f"An internal error occurred. Whoever runs the server finds it in its log under the request id {request_id}.",
        stage=Stage.REQUEST,
        outcome=Outcome.UNKNOWN,
    )


def _request_id(metadata: Metadata) -> str:
    """Return the caller's request id where it is one that a log may hold, else a new one."""
    for key, value in metadata:
        if key == _REQUEST_ID_KEY and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return secrets.token_hex(8)


def _log_end(seconds: float, failure: Failure | None, *, is_about_mail: bool) -> None:
    if failure is None:
        _log.info("call_finished", code="OK", milliseconds=_milliseconds(seconds))
        return
    _log.info(
        "call_finished",
        code=CODES[failure.reason].name,
        reason=failure.reason.value,
        outcome=failure.outcome.value if is_about_mail else None,
        stage=failure.stage.value,
        host=failure.host,
        attempts=failure.attempts,
        smtp_code=failure.reply.code if failure.reply else None,
        milliseconds=_milliseconds(seconds),
    )


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
