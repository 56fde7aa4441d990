"""What a device made of a bundle: its results file becomes tuning records.

The file begins with the bundle's own list of candidates, then has a line for every measurement of
an artefact. Lines that a kill has torn are left out; the device measures those again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bireme.codegen.parameters import Values
from bireme.codegen.records import KernelKey, Record
from bireme.codegen.tune.batch import Verdict, verdicts_on
from bireme.codegen.tune.bundle import FORMAT, PASSES
from bireme.ir import BiremeError


@dataclass(frozen=True)
class Rejected:
    """A candidate that failed or was wrong on the device."""

    ops: str
    parameters: Values
    outcome: str
    detail: str


@dataclass(frozen=True)
class Results:
    """Records of the kernels for which the device found better parameters. `unmeasured` counts the
    measurements that are still missing.
    """

    level: str
    records: tuple[Record, ...]
    candidates: int
    rejected: tuple[Rejected, ...]
    unmeasured: int


@dataclass(frozen=True)
class _Artefact:
    key: KernelKey
    ops: str
    template: str
    candidates: Sequence[Values]


def read_results(path: Path) -> Results:
    """Reads a results file. A candidate is taken where it was right and faster than the default
    beyond the noise in every pass; of several the one whose slowest pass is fastest. Raises BM6001,
    BM6008.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BiremeError("BM6001", str(error.strerror), where=str(path)) from None
    lines = list(_objects(text))
    if not lines or lines[0].get("bundle") != FORMAT:
        detail = f'expected a first line with "bundle": {FORMAT}'
        raise BiremeError("BM6008", detail, where=str(path))
    try:
        return _results(lines)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise BiremeError("BM6008", f"{type(error).__name__}: {error}", where=str(path)) from None


def _objects(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _results(lines: Sequence[Mapping[str, Any]]) -> Results:
    artefacts = {
        str(line["artefact"]): _Artefact(
            KernelKey(**{**line["key"], "sizes": tuple(line["key"]["sizes"])}),
            line["ops"],
            line["template"],
            line["candidates"],
        )
        for line in lines
        if "candidates" in line
    }
    passes: dict[str, dict[int, Mapping[str, Any]]] = {name: {} for name in artefacts}
    for line in lines:
        if "pass" in line:
            passes[line["artefact"]][int(line["pass"])] = line
    best: dict[KernelKey, Record] = {}
    rejected: list[Rejected] = []
    for name, artefact in artefacts.items():
        measured = list(passes[name].values())
        verdicts = [_verdicts(line, len(artefact.candidates)) for line in measured]
        for number, values in enumerate(artefact.candidates):
            own = [each[number] for each in verdicts]
            fault = next((v for v in own if v.outcome != "ok"), None)
            if fault:
                rejected.append(Rejected(artefact.ops, values, fault.outcome, fault.detail))
            elif len(own) == PASSES and all(v.time.is_faster for v in own):
                gain = 1 / max(v.time.value for v in own)
                record = Record(
                    artefact.key,
                    artefact.ops,
                    artefact.template,
                    values,
                    gain,
                    int(measured[0]["threads"]),
                    str(measured[0]["cpu"]),
                )
                known = best.get(record.key)
                if known is None or gain > known.gain:
                    best[record.key] = record
    return Results(
        str(lines[0]["level"]),
        tuple(best.values()),
        sum(len(a.candidates) for a in artefacts.values()),
        tuple(rejected),
        sum(PASSES - len(each) for each in passes.values()),
    )


def _verdicts(line: Mapping[str, Any], count: int) -> list[Verdict]:
    """Verdicts on an artefact's candidates, by one measurement of it."""
    if "status" in line:
        detail = f"the measuring program ended with status {line['status']}: {line['reason']}"
        return [Verdict("failed", detail=detail)] * count
    times = np.array(line["times"], np.int64)
    wrong = [int(n) for n in line["wrong"]]
    if times.ndim != 2 or times.shape[1] != count + 2 or len(wrong) != count + 2:
        raise ValueError(f"expected times of {count + 2} variants; found {times.shape}")
    return verdicts_on(times, wrong)
