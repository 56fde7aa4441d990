"""The file around a plan, code and weights (docs/artefact.md): written, and read back."""

from __future__ import annotations

import struct
from typing import Any

import flatbuffers
import xxhash

from bireme.codegen.link import PAGE
from bireme.runtime import schema

MAGIC = b"BIREME\x1a\n"
VERSION = 2
HEADER_BYTES = 128
_SECTIONS_AT = 24
_CHUNK = 1 << 20


def pack(plan: Any, code: bytes, weights: bytes) -> bytes:
    """The whole file; `plan` is a `PlanT` of the schema."""
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(plan.Pack(builder))
    plan_bytes = bytes(builder.Output())
    plan_at = HEADER_BYTES
    code_at = round_up(plan_at + len(plan_bytes), PAGE)
    weights_at = round_up(code_at + len(code), PAGE)
    end = weights_at + len(weights)
    sections = [(plan_at, plan_bytes), (code_at, code), (weights_at, weights)]
    header = MAGIC + struct.pack("<IIQ", VERSION, HEADER_BYTES, end)
    for start, data in sections:
        header += struct.pack("<QQQ", start, len(data), checksum(data))
    header += struct.pack("<Q", xxhash.xxh64_intdigest(header))
    whole = bytearray(end)
    whole[: len(header)] = header
    for start, data in sections:
        whole[start : start + len(data)] = data
    return bytes(whole)


def checksum(section: bytes) -> int:
    """Of a section: the hash of the hashes of its chunks, which the loader shares among threads."""
    view = memoryview(section)
    whole = len(section) // _CHUNK * _CHUNK
    hashes = [xxhash.xxh3_64_intdigest(view[at : at + _CHUNK]) for at in range(0, whole, _CHUNK)]
    hashes.append(xxhash.xxh64_intdigest(view[whole:]))
    return xxhash.xxh64_intdigest(struct.pack(f"<{len(hashes)}Q", *hashes))


def unpack(data: bytes) -> tuple[Any, bytes, bytes]:
    """What `pack` was given. The file must be one that the runtime has loaded: nothing is checked
    here.
    """
    sections = []
    for number in range(3):
        start, size, _ = struct.unpack_from("<QQQ", data, _SECTIONS_AT + 24 * number)
        sections.append(data[start : start + size])
    plan, code, weights = sections
    return schema.PlanT.InitFromPackedBuf(plan, 0), code, weights


def round_up(value: int, multiple: int) -> int:
    """The least multiple that is not less."""
    return -(-value // multiple) * multiple
