"""`bireme inspect`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from json import loads
from pathlib import Path
from typing import Any

from bireme.cli.output import megabytes, print_json, print_table
from bireme.codegen.container import unpack
from bireme.codegen.conversions import Conversion, conversions
from bireme.codegen.reader import read_plan
from bireme.ir.errors import counted
from bireme.runtime import Model, TensorInfo, schema


def run(artefact: Path, json: bool) -> None:
    """Prints what an artefact holds."""
    model = Model.load(artefact)
    size = artefact.stat().st_size
    data = artefact.read_bytes()
    plan, _, _ = unpack(data)
    layout = conversions(read_plan(data, {})[0])
    versions, kinds = _versions(plan), _kinds(plan)
    records = (plan.records or b"").decode().splitlines()
    if json:
        print_json(
            {
                "name": model.name,
                "producer": model.producer,
                "isa": model.isa,
                "bytes": size,
                "code_bytes": model.code_bytes,
                "weight_bytes": model.weight_bytes,
                "kernels": kinds,
                "versions": versions,
                "conversions": [asdict(each) for each in layout],
                "records": [loads(line) for line in records],
                "arena_bytes": model.arena_hint_bytes,
                "arena_lower_bound_bytes": model.arena_lower_bound_bytes,
                "symbols": {name: list(sizes) for name, sizes in model.symbols.items()},
                "inputs": [_fields(i) for i in model.inputs],
                "outputs": [_fields(o) for o in model.outputs],
            }
        )
        return
    print(f"{model.name}, {megabytes(size)}, by {model.producer}; runs here as {model.isa}")
    print(f"weights {megabytes(model.weight_bytes)}, code {megabytes(model.code_bytes)}")
    arena, bound = megabytes(model.arena_hint_bytes), megabytes(model.arena_lower_bound_bytes)
    print(f"arena {arena} at typical sizes, lower bound {bound}")
    if kinds:
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        print(f"kernels that steps launch: {listed}")
    if layout:
        print(_told(layout))
    if records:
        print(f"{counted(len(records), 'tuning record')} in use")
    for sizes, steps in versions.items():
        print(f"{sizes}: {steps} of {len(plan.instructions)} steps have kernels of their own")
    for name, (least, most) in model.symbols.items():
        print(f"{name}: at least {least}" if most is None else f"{name}: {least} to {most}")
    rows = [("input", i.name, i.dtype, _shape(i)) for i in model.inputs]
    rows += [("output", o.name, o.dtype, _shape(o)) for o in model.outputs]
    print_table("", ("", "name", "type", "shape"), rows)


def _kinds(plan: Any) -> dict[str, int]:
    """How many steps launch a kernel of each kind, the most frequent first."""
    kinds = [kernel.kind.decode() for kernel in plan.kernels or ()]
    launched = [i.kernel for i in plan.instructions if i.op == schema.Opcode.Launch]
    return dict(Counter(kinds[number] for number in launched).most_common())


def _told(layout: list[Conversion]) -> str:
    """How many conversions there are, what they move, and why."""
    moved = sum(each.moved or 0 for each in layout)
    reasons = Counter(each.reason for each in layout).most_common()
    listed = "; ".join(f"{count} {reason}" for reason, count in reasons)
    return (
        f"{counted(len(layout), 'layout conversion')}, {megabytes(moved)} by themselves: {listed}"
    )


def _versions(plan: Any) -> dict[str, int]:
    """For sizes that have kernels of their own, such as "seq=16", the steps that do."""
    names = [symbol.name.decode() for symbol in plan.symbols or ()]
    found: Counter[str] = Counter()
    for instruction in plan.instructions:
        for version in instruction.versions or ():
            sizes = (f"{names[plan.scalars[g.scalar].a]}={g.value}" for g in version.guards)
            found[", ".join(sizes)] += 1
    return dict(found)


def _fields(info: TensorInfo) -> dict[str, object]:
    return {"name": info.name, "dtype": str(info.dtype), "shape": list(info.shape)}


def _shape(info: TensorInfo) -> str:
    return "[" + ", ".join("?" if d is None else str(d) for d in info.shape) + "]"
