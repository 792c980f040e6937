"""aiosmtplib called directly, as its documentation shows: a message of the standard library, one `send` a mail.

direct.py PROFILE COUNT IN_FLIGHT; writes seconds and the latencies in milliseconds as JSON.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiosmtplib
import uvloop

RECIPIENT = "inbox@example.com"


def message(template: dict[str, str], sender: str) -> EmailMessage:
    """Return a mail as the documentation makes one."""
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = RECIPIENT
    mail["Subject"] = template["subject"]
    mail.set_content(template["content"].replace("{{code}}", "246810"), subtype=template["contentType"].split("/")[1])
    return mail


async def main(profile: dict[str, Any], count: int, in_flight: int) -> None:
    """Send the mails."""
    auth = profile["auth"]
    login = {"username": auth["user"], "password": auth["pass"]} if auth else {}
    tls = profile.get("tls")
    context = ssl.create_default_context(cadata=tls["ca"]) if tls else None
    latencies: list[float] = []
    left = count

    async def send_some() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            began = time.perf_counter()
            await aiosmtplib.send(
                message(profile["templates"][0], profile["fromEmail"]),
                hostname=profile["host"],
                port=profile["port"],
                start_tls=context is not None,
                tls_context=context,
                **login,
            )
            latencies.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    await asyncio.gather(*(send_some() for _ in range(in_flight)))
    json.dump({"seconds": time.perf_counter() - began, "milliseconds": latencies}, sys.stdout)


uvloop.run(main(json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2]), int(sys.argv[3])))
