"""What a run of the tuner found so far, on disk: one line an event, so that a kill loses little.

The first line says what the run is about; a run about the same goes on where the last one stopped.
Lines are only added, and each is on the disk before the next event. The last one may be
torn; it is then left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bireme.codegen.parameters import Values
from bireme.ir import BiremeError


@dataclass(frozen=True)
class Trial:
    """A candidate of a kernel. `outcome` is `ok`, `wrong` (it differs beyond the tolerance) or
    `failed` (it did not compile, crashed or took too long); with `ok`, its time over the default's
    is `ratio`. `detail` says more of the other two.
    """

    kernel: int
    parameters: Values
    outcome: str
    ratio: float = 1.0
    detail: str = ""


@dataclass(frozen=True)
class Batch:
    """A batch of a kernel's candidates. `best` is what the kernel has from here on, with its time
    over the default's; `spent` is how many seconds of the budget are gone.
    """

    kernel: int
    trials: tuple[Trial, ...]
    best: Values
    ratio: float
    exhausted: bool
    spent: float


@dataclass(frozen=True)
class Dropped:
    """Parameters of a kernel that did no good inside of the whole model."""

    kernel: int
    parameters: Values


Event = Batch | Dropped


class Journal:
    """The file of one run. `identity` is whatever the run's results depend on."""

    def __init__(self, path: Path, identity: str) -> None:
        self._path, self._identity = path, identity

    def read(self) -> list[Event]:
        """What happened in a run about the same that was not finished."""
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        except OSError:
            return []
        if not lines or _loaded(lines[0]) != {"identity": self._identity}:
            return []
        return list(_events(lines[1:]))

    def start(self, events: Sequence[Event]) -> None:
        """Begins the file anew, with what is already known. Raises BM3006."""
        lines = [json.dumps({"identity": self._identity}), *map(_line, events)]
        self._write("".join(f"{line}\n" for line in lines), "w")

    def add(self, event: Event) -> None:
        """Adds an event, and waits until it is on the disk. Raises BM3006."""
        self._write(f"{_line(event)}\n", "a")

    def _write(self, text: str, mode: str) -> None:
        try:
            with self._path.open(mode, encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise BiremeError("BM3006", str(error.strerror), where=str(self._path)) from None

    def remove(self) -> None:
        """Ends the run: the next one starts from the beginning."""
        self._path.unlink(missing_ok=True)


def _line(event: Event) -> str:
    return json.dumps(asdict(event), sort_keys=True)


def _loaded(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _events(lines: list[str]) -> Iterator[Event]:
    """The events up to the first line that is none."""
    for line in lines:
        try:
            fields = json.loads(line)
            if "trials" in fields:
                trials = tuple(Trial(**trial) for trial in fields.pop("trials"))
                yield Batch(trials=trials, **fields)
            else:
                yield Dropped(**fields)
        except (ValueError, TypeError, KeyError, AttributeError):
            return
