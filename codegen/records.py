"""Tuning records: the parameters that measurements found best for a kernel, and files of them.

A kernel is known by its structure, its sizes and the instruction set, not by names of the model.
The structure is the text of its specification with every size replaced by `#`; kernels of the same
structure differ in sizes only, and are similar where these are. A file has one record a line, as
JSON with sorted keys, lines in order: two databases can be compared and merged with ordinary tools,
and merging is commutative (docs/tuning.md).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from math import isfinite, log
from pathlib import Path
from typing import Any

from bireme.codegen.files import write_file
from bireme.codegen.parameters import NO_CHOICE, Choice, Values
from bireme.codegen.spec import KernelSpec
from bireme.ir import BiremeError
from bireme.targets.registry import Target

# The types of an op's operands and results: they follow from those of the arguments.
_TYPES = re.compile(r"(?<=[)}]) : \(.*|(?<=return ).* : .*")
# A number that stands by itself or in a shape, not one in a name such as `f32`, `%0` or `s1`.
_SIZE = re.compile(r'(?<=[<x\s"\[-])\d+(?=[x\s"\],>])')
_DIGITS = 16


@dataclass(frozen=True, order=True)
class KernelKey:
    """What a record is for: `structure` is a digest, `sizes` are what it leaves out, in order."""

    target: str
    level: str
    structure: str
    sizes: tuple[int, ...]

    def distance(self, other: KernelKey) -> float:
        """How far the sizes of a kernel of the same structure are: the sum of the logarithms of
        their ratios.
        """
        pairs = zip(self.sizes, other.sizes, strict=True)
        return sum(abs(log((a + 1) / (b + 1))) for a, b in pairs)


@dataclass(frozen=True)
class Record:
    """The best parameters known for a kernel.

    `ops` and `template` are for people. `gain` is the time of the default over that of
    `parameters`, measured side by side on `threads` threads of the processor `cpu`.
    """

    key: KernelKey
    ops: str
    template: str
    parameters: Values
    gain: float
    threads: int
    cpu: str

    @property
    def line(self) -> str:
        """The record as it stands in a file, without the end of the line."""
        fields = asdict(self)
        fields |= fields.pop("key") | {"gain": round(self.gain, 4)}
        return json.dumps(fields, sort_keys=True, ensure_ascii=False)


def key_of(spec: KernelSpec, target: str, level: str) -> KernelKey:
    """The key of a kernel on an instruction set of a target."""
    structure, sizes = _structure(spec.text)
    return KernelKey(target, level, structure, sizes)


@lru_cache(maxsize=4096)
def _structure(text: str) -> tuple[str, tuple[int, ...]]:
    text = _TYPES.sub("", text)
    sizes = tuple(int(number) for number in _SIZE.findall(text))
    return hashlib.sha256(_SIZE.sub("#", text).encode()).hexdigest()[:_DIGITS], sizes


class Database:
    """Records by key, at most one for each."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._records: dict[KernelKey, Record] = {}
        for record in records:
            self.add(record)

    def __iter__(self) -> Iterator[Record]:
        return iter(sorted(self._records.values(), key=lambda record: record.key))

    def __len__(self) -> int:
        return len(self._records)

    def get(self, key: KernelKey) -> Record | None:
        """The record of a kernel."""
        return self._records.get(key)

    def add(self, record: Record) -> None:
        """Adds a record; of two for one kernel, the one with the larger gain stays."""
        known = self._records.get(record.key)
        if known is None or (record.gain, record.line) > (known.gain, known.line):
            self._records[record.key] = record

    def discard(self, key: KernelKey) -> None:
        """Forgets what is known of a kernel."""
        self._records.pop(key, None)

    def update(self, other: Database) -> None:
        """Takes over the records of another database, whatever was known of their kernels."""
        self._records.update(other._records)

    def similar(self, key: KernelKey) -> list[Record]:
        """Records of other sizes of a kernel, the most similar first."""
        found = [
            r for r in self
            if r.key.structure == key.structure
            and (r.key.target, r.key.level) == (key.target, key.level)
            and r.key.sizes != key.sizes
        ]  # fmt: skip
        return sorted(found, key=lambda r: r.key.distance(key))

    def choice(self, target: Target, spec: KernelSpec, level: int) -> Choice:
        """What the records say of a kernel on a level of a target."""
        if not self._records:
            return NO_CHOICE
        description = target.description
        own, first = (
            self.get(key_of(spec, description.target, description.levels[n].name))
            for n in (level, 0)
        )
        return Choice(own.parameters if own else {}, first.parameters if first else {})

    @property
    def text(self) -> str:
        """The file's contents."""
        return "".join(f"{record.line}\n" for record in self)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the file, whole or not at all. Raises BM3006."""
        write_file(path, self.text.encode())


def read_database(path: str | os.PathLike[str]) -> Database:
    """Reads a file of records. Raises BM6001, BM6005."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise BiremeError("BM6001", str(error.strerror), where=str(path)) from None
    except UnicodeDecodeError as error:
        raise BiremeError("BM6005", f"it is not UTF-8: {error.reason}", where=str(path)) from None
    return parse_database(text, str(path))


def parse_database(text: str, where: str) -> Database:
    """The records of a file's contents; empty lines are allowed. Raises BM6005."""
    found = Database()
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            found.add(_parsed(line, f"{where}:{number}"))
    return found


# Type of each field of a line.
_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "cpu": str,
    "gain": (int, float),
    "level": str,
    "ops": str,
    "parameters": dict,
    "sizes": list,
    "structure": str,
    "target": str,
    "template": str,
    "threads": int,
}


def _parsed(line: str, where: str) -> Record:
    try:
        fields: Any = json.loads(line)
    except ValueError as error:
        raise BiremeError("BM6005", f"it is not JSON: {error}", where=where) from None
    if not isinstance(fields, dict):
        raise BiremeError("BM6005", "expected an object with the fields of a record", where=where)
    wrong = [n for n, kind in _FIELDS.items() if not isinstance(fields.get(n), kind)]
    wrong += sorted(fields.keys() - _FIELDS.keys())
    if not wrong:
        numbers = [*fields["sizes"], *fields["parameters"].values()]
        wrong = [] if all(type(n) is int for n in numbers) else ["sizes or parameters"]
        wrong += [] if isfinite(fields["gain"]) else ["gain"]
    if wrong:
        detail = f"missing, unknown or of the wrong type: {', '.join(wrong)}"
        raise BiremeError("BM6005", detail, where=where)
    key = KernelKey(fields["target"], fields["level"], fields["structure"], tuple(fields["sizes"]))
    return Record(
        key,
        fields["ops"],
        fields["template"],
        fields["parameters"],
        float(fields["gain"]),
        fields["threads"],
        fields["cpu"],
    )


def records_for(
    target: Target, files: Sequence[str | os.PathLike[str]], untuned: bool = False
) -> Database:
    """The records that come with a target, none with `untuned`, and those of files, of which the
    last that knows a kernel counts. Raises BM6001, BM6005.
    """
    found = Database([] if untuned else shipped(target))
    for path in files:
        found.update(read_database(path))
    return found


@lru_cache(maxsize=8)
def shipped(target: Target) -> Database:
    """The records that come with a target; without a file, none. Raises BM6001, BM6005."""
    path = target.records_path()
    return read_database(path) if path.exists() else Database()
