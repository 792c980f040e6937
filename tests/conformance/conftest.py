from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.documents import document_for
from harness.inbox import Inbox
from harness.service import Service, running_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with Inbox() as inbox:
        yield inbox


@pytest.fixture
async def service(inbox: Inbox, tmp_path: Path) -> AsyncIterator[Service]:
    """The service with a profile `default` whose mails go to the inbox."""
    async with running_service({"default": document_for(inbox)}, tmp_path) as service:
        yield service
