"""Compiled kernels on disk, so that a model compiled again, or another with equal layers, is ready
at once.

An entry's key covers the kernel's specification, the instruction set, and the compiler itself (its
version and its own source), so nothing is ever invalidated. Files are written whole or not at all,
and checked when read; a cache that cannot be written to is only slower.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path

import xxhash

from bireme.codegen.files import write_file
from bireme.codegen.parameters import Values
from bireme.ir import BiremeError, Dim, parse

_MAGIC = b"BIREKRN2"


@dataclass(frozen=True)
class CompiledKernel:
    """Object code of a kernel for one instruction set, how it is launched, and the parameters of
    its template.
    """

    code: bytes
    tasks: Dim
    workspace: Dim
    phase: Dim
    kind: str
    parameters: Values = field(default_factory=dict)


def default_folder() -> Path:
    """Where kernels are kept: the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "bireme", "kernels")


@cache
def compiler_fingerprint() -> str:
    """Digest of everything besides the specification that decides what code comes out."""
    digest = hashlib.sha256(version("apache-tvm").encode())
    root = Path(__file__).parent
    for folder in (root, root.parent / "targets", root.parent / "ir"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def entry_key(spec_key: str, level: str, choice: str = "") -> str:
    """The cache key of a specification compiled for one instruction set, where tuning records say
    `choice`.
    """
    text = "\0".join((spec_key, level, compiler_fingerprint(), choice))
    return hashlib.sha256(text.encode()).hexdigest()


class KernelCache:
    """Entries in one folder; `folder` None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, key: str) -> CompiledKernel | None:
        """The entry, or None when there is none or the file is damaged."""
        if self._folder is None:
            return None
        try:
            data = (self._folder / key[:2] / key).read_bytes()
        except OSError:
            return None
        return _decode(data)

    def put(self, key: str, kernel: CompiledKernel) -> None:
        """Keeps an entry; a folder that cannot be written to is not an error."""
        if self._folder is None:
            return
        folder = self._folder / key[:2]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_file(folder / key, _encode(kernel))
        except (OSError, BiremeError):
            self._folder = None


def _encode(kernel: CompiledKernel) -> bytes:
    fields = {
        "tasks": str(kernel.tasks),
        "workspace": str(kernel.workspace),
        "phase": str(kernel.phase),
        "kind": kernel.kind,
        "parameters": dict(kernel.parameters),
    }
    head = json.dumps(fields).encode()
    body = len(head).to_bytes(4, "little") + head + kernel.code
    return _MAGIC + xxhash.xxh64_digest(body) + body


def _decode(data: bytes) -> CompiledKernel | None:
    body = data[16:]
    if data[:8] != _MAGIC or data[8:16] != xxhash.xxh64_digest(body):
        return None
    size = int.from_bytes(body[:4], "little")
    fields = json.loads(body[4 : 4 + size])
    return CompiledKernel(
        body[4 + size :],
        parse(fields["tasks"]),
        parse(fields["workspace"]),
        parse(fields["phase"]),
        fields["kind"],
        fields["parameters"],
    )
