"""`bireme compare`."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

from bireme._compare import Comparison, compare
from bireme._inputs import read_arrays
from bireme.cli.html import Cell, Table, page
from bireme.cli.options import parse_constants, parse_dims, parse_range
from bireme.cli.output import FAULT, print_json, print_table
from bireme.codegen.accuracy import Difference
from bireme.codegen.files import write_file
from bireme.codegen.steps import Step

_MEASURES = ("max abs", "max rel", "cosine", "SQNR dB")
_STEP = ("step", "node", "ops", "type", *_MEASURES, "in all", "")
_VALUE = ("", "elements", *_MEASURES, "beyond")


def run(
    model: Path,
    artefact: Path,
    source: Path | None,
    against: str,
    dims: list[str] | None,
    constants: list[str] | None,
    seed: int,
    value_range: str | None,
    repro: Path | None,
    threads: int | None,
    precision: str,
    calibration: list[Path] | None,
    limit: float,
    html: Path | None,
    json: bool,
) -> int:
    """Prints how every step of the artefact differs from the reference; gives the exit code."""
    found = compare(
        model,
        artefact,
        source,
        against=against,
        dims=parse_dims(dims),
        constants=parse_constants(constants),
        seed=seed,
        value_range=parse_range(value_range),
        repro=repro,
        threads=threads,
        precision=precision,
        calibration=[read_arrays(path, {}) for path in calibration or ()],
        limit=limit,
    )
    if html:
        write_file(html, _page(model.name, found).encode())
    if json:
        print_json(_json(found))
    else:
        _print(found)
    return 0 if found.agrees else FAULT


# --- text -----------------------------------------------------------------------------------------


def _print(found: Comparison) -> None:
    if not found.own:
        print("The steps are those of a fresh artefact: this version compiles the model otherwise.")
    print_table("", _STEP, [_step(number, step) for number, step in enumerate(found.steps)])
    print()
    if found.inside:
        rows = [_step(number, step) for number, step in enumerate(found.inside.steps)]
        print_table(f"in {found.inside.place}", _STEP, rows)
        print()
    if found.imported:
        wrong = {name: d for name, d in found.imported.items() if not d.agrees}
        print(f"{len(found.imported) - len(wrong)} of {len(found.imported)} values of the model: "
              f"the reference agrees with {found.against}")  # fmt: skip
        if wrong:
            print_table("", _VALUE, [_value(name, d) for name, d in wrong.items()])
    rows = [_value(f"output {name}", d) for name, d in found.outputs.items()]
    print_table("", _VALUE, rows)
    print(_verdict(found))
    if found.repro and found.repro.folder:
        shows = "shows" if found.repro.reproduces else "does not show"
        print(f"{found.repro.folder}: {', '.join(found.repro.nodes)}; compiled afresh, it {shows} "
              "the difference")  # fmt: skip


def _step(number: int, step: Step) -> tuple[str, ...]:
    total = "" if step.total is None else _short(step.total.max_abs)
    return (
        f"#{number}",
        ", ".join(step.nodes),
        "+".join(step.ops),
        step.type,
        *_measures(step.local),
        total,
        "" if step.local.agrees else "differs",
    )


def _value(name: str, found: Difference) -> tuple[str, ...]:
    return name, str(found.elements), *_measures(found), str(found.wrong)


def _measures(found: Difference) -> tuple[str, ...]:
    numbers = (found.max_abs, found.max_rel)
    decibels = "∞" if found.sqnr == float("inf") else f"{found.sqnr:.1f}"
    return (*map(_short, numbers), f"{found.cosine:.6f}", decibels)


def _short(number: float) -> str:
    return "0" if number == 0 else f"{number:.2g}"


def _verdict(found: Comparison) -> str:
    if found.fault is None:
        return f"the artefact agrees with {found.against}"
    where = f" at {', '.join(found.fault.nodes)}" if found.fault.nodes else ""
    where += f" in {found.fault.within}" if found.fault.within else ""
    return f"DIFFERS{where} ({found.fault.stage}): {found.fault.what}"


# --- JSON -----------------------------------------------------------------------------------------


def _json(found: Comparison) -> dict[str, Any]:
    fault, repro = found.fault, found.repro
    return {
        "agrees": found.agrees,
        "against": found.against,
        "own_steps": found.own,
        "fault": None if fault is None else {**vars(fault), "nodes": list(fault.nodes)},
        "outputs": {name: _difference_json(d) for name, d in found.outputs.items()},
        "imported": {name: _difference_json(d) for name, d in found.imported.items()},
        "steps": [_step_json(step) for step in found.steps],
        "inside": found.inside
        and {
            "node": found.inside.name,
            "iteration": found.inside.turn,
            "steps": [_step_json(step) for step in found.inside.steps],
        },
        "repro": repro
        and {
            "nodes": list(repro.nodes),
            "reproduces": repro.reproduces,
            "folder": None if repro.folder is None else str(repro.folder),
        },
    }


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "nodes": list(step.nodes),
        "ops": list(step.ops),
        "type": step.type,
        "local": _difference_json(step.local),
        "total": None if step.total is None else _difference_json(step.total),
    }


def _difference_json(found: Difference) -> dict[str, Any]:
    """JSON has no infinities: they become null."""
    fields = {k: v if isfinite(v) else None for k, v in vars(found).items()}
    return {"agrees": found.agrees, **fields}


# --- HTML -----------------------------------------------------------------------------------------


def _page(name: str, found: Comparison) -> str:
    def cells(texts: tuple[str, ...], measured: Difference, at: int) -> list[Cell | str]:
        keys = (measured.max_abs, measured.max_rel, measured.cosine, measured.sqnr)
        row: list[Cell | str] = list(texts)
        for i, key in enumerate(keys, at):
            row[i] = Cell(texts[i], key if isfinite(key) else 1e300)
        row[-1] = Cell(texts[-1], good=measured.agrees)
        return row

    steps = [cells(_step(n, s), s.local, 4) for n, s in enumerate(found.steps)]
    values = [cells(_value(f"output {n}", d), d, 2) for n, d in found.outputs.items()]
    values += [cells(_value(n, d), d, 2) for n, d in found.imported.items()]
    numbers = frozenset({*_MEASURES, "elements", "beyond"})
    tables = [Table("Steps", _STEP, steps, numbers), Table("Values", _VALUE, values, numbers)]
    if found.inside:
        inner = [cells(_step(n, s), s.local, 4) for n, s in enumerate(found.inside.steps)]
        tables.insert(1, Table(f"Steps in {found.inside.place}", _STEP, inner, numbers))
    verdict = Cell(_verdict(found), good=found.agrees)
    return page(f"bireme compare {name}", verdict, [("against", found.against)], tables)
