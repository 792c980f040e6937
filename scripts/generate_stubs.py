"""Generate the Python stubs of protos/ into client/src/smtpconnector/v1, or check that they are up to date.

Everything is generated into a temporary folder first; the committed stubs are replaced only when all of it succeeded.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
STUBS = ROOT / "client" / "src" / "smtpconnector" / "v1"


def generate(out: Path) -> Path:
    """Generate all stubs below ``out`` and return the folder that holds them."""
    files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    plugin_folder = Path(sys.executable).parent
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"--proto_path={PROTOS}",
        f"--plugin=protoc-gen-mypy={plugin_folder / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugin_folder / 'protoc-gen-mypy_grpc'}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
        *files,
    ]
    subprocess.run(command, check=True)  # noqa: S603 - our own command line
    generated = out / "smtpconnector" / "v1"
    for path in generated.glob("*_pb2_grpc.py*"):
        if not path.stem.removesuffix("_pb2_grpc").endswith("_service"):
            path.unlink()  # a file without a service gets an empty stub module
    return generated


def drift(generated: Path) -> list[str]:
    """Return the names of the stubs that differ from the committed ones, are missing there or are surplus."""
    names = {path.name for path in generated.iterdir()} | {path.name for path in STUBS.glob("*_pb2*")}
    _, mismatch, errors = filecmp.cmpfiles(generated, STUBS, sorted(names), shallow=False)
    return sorted(mismatch + errors)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the stubs are out of date")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        generated = generate(Path(folder))
        stale = drift(generated)
        if arguments.check:
            if stale:
                print(f"Out of date: {', '.join(stale)}. Run `make proto` and commit.", file=sys.stderr)
            return 1 if stale else 0
        STUBS.mkdir(parents=True, exist_ok=True)
        for path in STUBS.glob("*_pb2*"):
            path.unlink()
        for path in generated.iterdir():
            shutil.copyfile(path, STUBS / path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
