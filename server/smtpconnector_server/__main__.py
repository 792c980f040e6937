"""`python -m smtpconnector_server` is the command `smtpconnector`."""

from __future__ import annotations

import sys

from smtpconnector_server.cli import main

if __name__ == "__main__":
    sys.exit(main())
