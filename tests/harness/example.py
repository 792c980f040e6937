"""The programs of examples/: built by the commands of their READMEs in a tree of their own, then run.

The first block of commands in a README builds, each line with ``--target`` in the later ones is a way to run.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BUILDS = ROOT / "build" / "examples"
_BUILD_SECONDS = 1200.0
_RUN_SECONDS = 60.0
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


class MissingToolchainError(Exception):
    """This machine cannot build the example; the message names what is missing."""


class BuildError(Exception):
    """The commands of the README failed; the message is what they said."""


@dataclass(frozen=True)
class Ended:
    """How a run of a program ended."""

    exit_code: int | None
    output: str
    errors: str


@dataclass(frozen=True)
class Program:
    """A program that was built."""

    command: tuple[str, ...]
    folder: Path

    async def send(self, target: str, *flags: str, to: str = "ada@example.com", code: str = "246810") -> Ended:
        """Run it, and wait for its end."""
        return await self.run("--target", target, "--to", to, "--code", code, *flags)

    async def run(self, *arguments: str) -> Ended:
        """Run it with any arguments, and wait for its end."""
        process = await asyncio.create_subprocess_exec(
            *self.command,
            *arguments,
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(), _RUN_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Ended(process.returncode, output.decode(), errors.decode())


@dataclass(frozen=True)
class Example:
    """An example and one way to run it."""

    name: str
    """Its folder in examples/."""
    needs: tuple[str, ...]
    """The programs that its toolchain consists of."""
    sources: tuple[str, ...] = ("protos",)
    """What its build reads beside its own folder."""
    way: int = 0
    """Which of the README's ways to run it."""
    tries: int = 5
    """How often it calls a service that is UNAVAILABLE."""

    def program(self) -> Program:
        """Return the program, built if it was not yet.

        Raises:
            MissingToolchainError: It cannot be built on this machine.
            BuildError: It cannot be built.
        """
        missing = [tool for tool in self.needs if shutil.which(tool, path=_environment()["PATH"]) is None]
        if missing:
            raise MissingToolchainError(f"{self.name}: there is no {' and no '.join(missing)} on this machine")
        folder = _built(self.name, self.sources)
        ways = [line for block in commands(self.name)[1:] for line in block.splitlines() if "--target" in line]
        command = shlex.split(ways[self.way].partition("--target")[0])
        # The program itself may be named by its place in the folder.
        command[0] = str(folder / command[0]) if "/" in command[0] else command[0]
        return Program(tuple(command), folder)


def commands(name: str) -> list[str]:
    """Return the blocks of commands in the README of an example."""
    return _BLOCK.findall((ROOT / "examples" / name / "README.md").read_text(encoding="utf-8"))


def _environment() -> dict[str, str]:
    # This environment's own tools first: Python, and the buf of the development group.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "CARGO_PROFILE_DEV_DEBUG": "0"}  # half the time and the space


@functools.cache
def _built(name: str, sources: tuple[str, ...]) -> Path:
    """Build in build/examples/NAME, unless it holds a build of the same files."""
    tree, stamp = _BUILDS / name, _BUILDS / f"{name}.stamp"
    digest = _lay_out(tree, (f"examples/{name}", *sources))
    if not stamp.exists() or stamp.read_text() != digest:
        stamp.unlink(missing_ok=True)
        built = subprocess.run(  # noqa: S603 - the README's commands are ours
            ["nice", "sh", "-euc", commands(name)[0]],  # noqa: S607
            cwd=tree,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_BUILD_SECONDS,
            check=False,
        )
        if built.returncode != 0:
            raise BuildError(f"{name}: its README's commands end with {built.returncode}:\n{built.stdout.decode()}")
        stamp.write_text(digest)
    return tree / "examples" / name


def _lay_out(tree: Path, sources: tuple[str, ...]) -> str:
    """Copy what the repository holds of these folders, nothing that a build left there; return its digest."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *sources]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode()  # noqa: S603
    digest = hashlib.sha256()
    for file in sorted(filter(None, listed.split("\0"))):
        if not (ROOT / file).is_file():
            continue  # deleted, but not yet from the index
        octets, copy = (ROOT / file).read_bytes(), tree / file
        digest.update(f"{file}\0{len(octets)}\0".encode() + octets)
        if not copy.exists() or copy.read_bytes() != octets:  # an old date lets a build tool keep its work
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(octets)
    return digest.hexdigest()
