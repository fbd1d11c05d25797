#!/usr/bin/env python3
"""Compile every .proto file beside this one into `emulator/descriptors.binpb`, which `emulator.api` loads.

usage: python protos/compile.py

The file is a FileDescriptorSet: imports included, comments not, each file after those it imports, otherwise by name.
Needs grpcio-tools (for protoc) and googleapis-common-protos (for google.api and google.rpc).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
DESCRIPTORS = PROTOS.parent / "emulator" / "descriptors.binpb"

# Imported by none of our files, yet wanted in the pool: details that statuses carry.
EXTRA = ("google/protobuf/duration.proto", "google/rpc/error_details.proto")


def compile_set() -> bytes:
    """The serialized FileDescriptorSet; the same sources and the same protoc give the same bytes.

    Raises RuntimeError where protoc refuses; it has told why on stderr.
    """
    import google.api
    import grpc_tools
    from grpc_tools import protoc

    ours = sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))
    common = Path(next(iter(google.api.__path__))).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "descriptors.binpb"
        arguments = [
            "protoc",
            f"--proto_path={PROTOS}",
            f"--proto_path={Path(str(grpc_tools.__file__)).parent / '_proto'}",
            f"--proto_path={common}",
            f"--descriptor_set_out={out}",
            "--include_imports",
            *sorted((*ours, *EXTRA)),
        ]
        if protoc.main(arguments):
            raise RuntimeError(f"protoc refused the files under {PROTOS}")
        return out.read_bytes()


def main() -> None:
    """Write the set and say so."""
    compiled = compile_set()
    DESCRIPTORS.write_bytes(compiled)
    print(f"{DESCRIPTORS}: {len(compiled)} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
