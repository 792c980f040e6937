"""Profiles that follow their files: read again on SIGHUP and when a file changes.

A new version that cannot be used is reported, and the old one serves on.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from smtpconnector_server.config.finding import Severity
from smtpconnector_server.config.profile import load_profile
from smtpconnector_server.file_stamp import file_stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from smtpconnector_server.config.profile import Profile

_LOOK_SECONDS: Final = 2.0
"""Between two looks at the files. A look is one stat a file."""

_log = structlog.get_logger()


class ProfileFiles:
    """The files of the profiles.

    Args:
        files: By the profile's name.
        replace: Told a profile's name and its new version.
    """

    def __init__(self, files: Mapping[str, Path], replace: Callable[[str, Profile], None]) -> None:
        self._files = files
        self._replace = replace
        self._stamps = {name: file_stamp(file) for name, file in files.items()}
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Read every file again soon, changed or not: a secret that it refers to may have changed."""
        self._asked.set()

    async def follow(self) -> None:
        """Follow the files for ever."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), _LOOK_SECONDS)
            for name, file in self._files.items():
                stamp = file_stamp(file)
                if self._asked.is_set() or stamp != self._stamps[name]:
                    self._stamps[name] = stamp
                    await self._reload(name, file)
            self._asked.clear()

    async def _reload(self, name: str, file: Path) -> None:
        profile = await asyncio.to_thread(load_profile, file)  # reads files and checks certificates
        if profile.checked.connector is None:
            errors = [finding for finding in profile.checked.findings if finding.severity is Severity.ERROR]
            _log.error(
                "profile_refused",
                profile=name,
                errors=[f"{finding.field}: {finding.message}" for finding in errors],
            )
            return
        self._replace(name, profile)
        _log.info("profile_reloaded", profile=name)
