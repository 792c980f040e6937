"""Load: so many mails with so many in flight, and how long each took.

gRPC services get it from h2load, which posts a ready frame and costs little; other parties make their own.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harness.servers.programs import environment, program
from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector.v1 import delivery_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RECIPIENT = "inbox@example.com"
WAIT = delivery_pb2.DELIVERY_MODE_UNSPECIFIED
ENQUEUE = delivery_pb2.DELIVERY_MODE_ENQUEUE
_MAX_SECONDS = 60.0
_MAX_CLIENTS = 4
_DONE = re.compile(r"requests: .*, (\d+) succeeded")
_DATA = re.compile(r"traffic: .*\((\d+)\) data")
_FRAME_HEAD = 5


@dataclass(frozen=True, slots=True)
class Run:
    """What a load showed."""

    mails: int
    seconds: float
    milliseconds: tuple[float, ...]
    """Of each mail; empty where the party does not tell."""

    @property
    def rate(self) -> float:
        """Mails in a second."""
        return self.mails / self.seconds

    def quantile(self, share: float) -> float:
        """Return the latency in milliseconds that a share of the mails kept."""
        return sorted(self.milliseconds)[min(int(len(self.milliseconds) * share), len(self.milliseconds) - 1)]

    @property
    def median(self) -> float:
        """The median latency in milliseconds."""
        return statistics.median(self.milliseconds)


def frame(
    usage_type: str, payload: Mapping[str, str], profile: str = "", mode: delivery_pb2.DeliveryMode.ValueType = WAIT
) -> bytes:
    """Return a SendMessageRequest as gRPC frames it."""
    request = pb.SendMessageRequest(to=RECIPIENT, type=usage_type, delivery_mode=mode)
    request.payload.update(payload)
    if profile:
        request.config.profile = profile
    octets = request.SerializeToString()
    return b"\0" + len(octets).to_bytes(4, "big") + octets


def post(port: int, frame: bytes, *, count: int, in_flight: int) -> Run:
    """Post a frame to SendMessage.

    Args:
        port: Of a gRPC service on this machine.
        frame: From :func:`frame`.
        count: How often.
        in_flight: Calls at the same time, over at most four connections.

    Raises:
        RuntimeError: Not every call was answered by a message.
    """
    clients = min(in_flight, _MAX_CLIENTS)
    with TemporaryDirectory(prefix="smtpconnector-bench-") as name:
        body, log = Path(name, "frame"), Path(name, "log")
        body.write_bytes(frame)
        command: list[str | Path] = [program("h2load"), "-n", str(count), "-c", str(clients), "-t", "1"]
        command += ["-m", str(in_flight // clients), "-d", body, "--log-file", log]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        said = _run([*command, f"http://127.0.0.1:{port}/smtpconnector.v1.ConnectorService/SendMessage"])
        lines = [list(map(int, line.split())) for line in log.read_text().splitlines()]
    succeeded, octets = _DONE.search(said), _DATA.search(said)
    if succeeded is None or octets is None or int(succeeded[1]) != count or int(octets[1]) < count * _FRAME_HEAD:
        raise RuntimeError(f"the service did not answer every call: {said}")
    microseconds = [took for _, _, took in lines]
    span = max(start + took for start, _, took in lines) - min(start for start, _, _ in lines)
    return Run(count, span / 1e6, tuple(took / 1000 for took in microseconds))


def command(arguments: Sequence[str | Path], *, count: int) -> Run:
    """Run a program that sends mails by itself, and take its own word for seconds and latencies if it gives one.

    Raises:
        RuntimeError: It failed.
    """
    began = time.perf_counter()
    said = _run(arguments)
    took = time.perf_counter() - began
    if not said.startswith("{"):
        return Run(count, took, ())
    told = json.loads(said)
    return Run(count, told["seconds"], tuple(told["milliseconds"]))


def _run(arguments: Sequence[str | Path]) -> str:
    done = subprocess.run(  # noqa: S603 - the commands are the benchmark's own
        arguments, capture_output=True, text=True, timeout=_MAX_SECONDS, env=environment(), check=False
    )
    if done.returncode:
        raise RuntimeError(f"{arguments[0]} failed: {done.stderr[-2000:]}")
    return done.stdout
