"""The public API as a caller's type checker sees it: mypy and pyright read this file, nobody runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, assert_type

import grpc

from smtpconnector import (
    AsyncClient,
    Capabilities,
    Client,
    ConfigReport,
    ConnectorConfig,
    Delivery,
    DeliveryChange,
    DeliveryMode,
    DeliveryState,
    DeliveryUncertain,
    Depth,
    Finding,
    Outcome,
    RateLimited,
    RecipientRejected,
    Reply,
    Resolution,
    SentMessage,
    Severity,
    SmtpConnectorError,
    Step,
    StepStatus,
    Template,
    Tls,
    Unavailable,
    UncertainPolicy,
    UsageType,
    Violation,
    config_from_logto,
)
from smtpconnector.v1 import config_pb2, connector_service_pb2


def clients(pem: bytes) -> None:
    Client("127.0.0.1:50051")
    Client("mail.internal:50051", tls=Tls(root_certificates=pem, certificate_chain=pem, private_key=pem), token="t")
    AsyncClient("mail.internal:50051", token=lambda: "t", timeout=10)
    AsyncClient("mesh:50051", insecure=True)
    Client("127.0.0.1:50051", timeout="10")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Client("127.0.0.1:50051", None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def threads(typed: config_pb2.SmtpConfig, parsed: dict[str, Any]) -> None:
    with Client("127.0.0.1:50051") as client:
        assert_type(client, Client)
        sent = client.send_message(
            "ada@example.com", UsageType.SIGN_IN, {"code": "1", "n": [1, 2.5, None, {"a": True}]}
        )
        assert_type(sent, SentMessage)
        assert_type(sent.message_id, str)
        assert_type(sent.reply, Reply | None)
        client.send_message("ada@example.com", "OfOurOwn", parsed, config=parsed)
        client.send_message(
            to="ada@example.com",
            type=UsageType.GENERIC,
            config=config_from_logto(Path("logto.json").read_bytes()),
            template=Template("Hi", "{{code}}", content_type="text/plain"),
            client_ip="192.0.2.1",
            validate_only=True,
            timeout=5,
            metadata=[("traceparent", "00"), ("key-bin", b"1")],
        )
        assert_type(client.validate_config("profile", depth=Depth.CONNECT), ConfigReport)
        assert_type(client.validate_config(typed), ConfigReport)
        assert_type(client.get_metadata(), connector_service_pb2.GetMetadataResponse)
        client.send_message("ada@example.com")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        client.send_message("ada@example.com", "Test", {"at": object()})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
        Template("s", "c", content_type="html")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def loops() -> None:
    async with AsyncClient("127.0.0.1:50051") as client:
        assert_type(client, AsyncClient)
        assert_type(await client.send_message("ada@example.com", UsageType.TEST), SentMessage)
        assert_type(await client.validate_config(), ConfigReport)
        assert_type(await client.get_metadata(timeout=5), connector_service_pb2.GetMetadataResponse)


def durably(client: Client, now: datetime) -> None:
    sent = client.send_message(
        "ada@example.com",
        UsageType.SIGN_IN,
        request_id="1",
        delivery_mode=DeliveryMode.ENQUEUE,
        expire_in=timedelta(minutes=10),
        supersede_key="ada",
        uncertain_policy=UncertainPolicy.RESEND,
    )
    assert_type(sent.state, DeliveryState | None)
    assert_type(client.get_delivery(sent.delivery_id), Delivery)
    assert_type(client.get_delivery(request_id="1").reply, Reply | None)
    changes: Iterator[DeliveryChange] = client.watch_delivery(sent.delivery_id, cursor=1)
    assert_type(next(changes).time, datetime)
    found: Iterator[Delivery] = client.list_deliveries(states=[DeliveryState.UNKNOWN], created_after=now)
    for delivery in found:
        assert_type(client.resolve_delivery(delivery.id, Resolution.DROP), Delivery)
    assert_type(client.cancel_delivery(request_id="1"), Delivery)
    client.send_message("ada@example.com", "Test", expire_in=60)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def durably_in_loops(client: AsyncClient) -> None:
    changes: AsyncIterator[DeliveryChange] = client.watch_delivery(request_id="1")
    async for change in changes:
        assert_type(change.delivery, Delivery)
    async for delivery in client.list_deliveries():
        assert_type(await client.cancel_delivery(delivery.id), Delivery)
    assert_type(await client.get_delivery("1"), Delivery)
    assert_type(await client.resolve_delivery("1", Resolution.SEND_AGAIN), Delivery)


def errors(client: Client) -> None:
    try:
        client.send_message("ada@example.com", "Test")
    except RecipientRejected as error:
        assert_type(error.smtp_code, int | None)
        assert_type(error.violations, tuple[Violation, ...])
    except (RateLimited, Unavailable) as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.may_retry, bool)
    except DeliveryUncertain as error:
        assert_type(error.outcome, Outcome | None)
    except SmtpConnectorError as error:
        assert_type(error.code, grpc.StatusCode)
        assert_type(error.reason, str)
        assert_type(error.metadata, dict[str, str])


def reports(report: ConfigReport) -> None:
    assert_type(report.findings, tuple[Finding, ...])
    assert_type(report.findings[0].severity, Severity)
    assert_type(report.steps, tuple[Step, ...])
    assert_type(report.steps[0].status, StepStatus)
    assert_type(report.steps[0].seconds, float | None)
    assert_type(report.capabilities, Capabilities | None)
    assert_type(report.normalized, Mapping[str, Any] | None)
    assert_type(config_from_logto("{}"), ConnectorConfig)
