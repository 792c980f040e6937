"""The connector's metadata as GetMetadata answers them."""

from __future__ import annotations

from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector_server import __version__


def to_metadata_response() -> pb.GetMetadataResponse:
    """Return the answer, which is the same for every call."""
    return pb.GetMetadataResponse(server_version=__version__)
