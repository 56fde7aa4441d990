"""`bireme check`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bireme._check import Check, NodeCheck, check
from bireme.cli.html import Cell, Table, page
from bireme.cli.options import parse_choices, parse_constants, parse_dims
from bireme.cli.output import FAULT, megabytes, print_json, print_table, quantity
from bireme.codegen.files import write_file
from bireme.codegen.survey import Placement, Survey

_NODE = ("node", "operator", "types", "operations", "bytes", "memory")
_REFUSED = ("node", "operator", "opset", "target", "code", "reason", "what to do")
_TOTAL = (
    "target", "compilable", "kernels", "launches", "versions", "operations", "moved", "arena",
    "weights", "scratch a thread",
)  # fmt: skip
_LAUNCH = (
    "launch", "kernel", "template", "versions", "nodes", "ops", "operations", "bytes", "arena",
)  # fmt: skip


def run(
    model: Path,
    target: str,
    dims: list[str] | None,
    constants: list[str] | None,
    specialize: list[str] | None,
    html: Path | None,
    json: bool,
) -> int:
    """Prints where every node would run and what cannot be compiled; gives the exit code."""
    found = check(
        model,
        target,
        dims=parse_dims(dims),
        constants=parse_constants(constants),
        specialize=parse_choices(specialize),
    )
    if html:
        write_file(html, _page(model.name, found).encode())
    if json:
        print_json(_json(found))
    else:
        _print(found)
    return 0 if found.compilable else FAULT


# --- text -----------------------------------------------------------------------------------------


def _print(found: Check) -> None:
    groups = _groups(found)
    rows = [
        (
            node.report.name,
            node.report.op,
            node.types,
            quantity(node.operations),
            megabytes(node.bytes),
            megabytes(_memory(found, node)),
            *(_where(node.places[group[0]]) for group in groups),
        )
        for node in found.nodes
        if node.report.op != "Constant" or not node.supported  # hundreds that say nothing
    ]
    print_table("", (*_NODE, *("\n".join(group) for group in groups)), rows)
    refused = _refused(found)
    if refused:
        print()
        print_table("cannot be compiled", _REFUSED, refused)
    print()
    print_table("", _TOTAL, [_totals(found, survey) for survey in found.surveys])
    if found.sizes:
        print("estimated at", _sizes(found.sizes, "="))
    print(_verdict(found))


def _groups(found: Check) -> list[list[str]]:
    """Targets that run every node alike share a column."""
    columns: dict[tuple[str, ...], list[str]] = {}
    for survey in found.surveys:
        cells = tuple(_where(node.places[survey.target]) for node in found.nodes)
        columns.setdefault(cells, []).append(survey.target)
    return list(columns.values())


def _memory(found: Check, node: NodeCheck) -> int:
    """Most bytes that the arena holds while a node runs, on any target."""
    live = [
        survey.launches[number].live_bytes
        for survey in found.surveys
        for number in node.places[survey.target].launches
    ]
    return max(live, default=0)


def _where(place: Placement) -> str:
    if place.errors:
        return ", ".join(dict.fromkeys(e.code for e in place.errors))
    launches = " ".join(f"#{number}" for number in place.launches)
    return f"{', '.join(place.how)} {launches}".strip()


def _refused(found: Check) -> list[tuple[str, ...]]:
    """A row for each fault of each node; targets with the same fault share it."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for node in found.nodes:
        for target, place in node.places.items():
            for error in place.errors:
                who = (node.report.name, node.report.op, str(node.report.opset))
                rows.setdefault((*who, error.code, error.detail, error.hint), []).append(target)
    named = {node.report.name for node in found.nodes}
    for survey in found.surveys:
        listed = {id(e) for n in found.nodes for e in n.places[survey.target].errors}
        for error in survey.errors:
            if id(error) not in listed and error.where not in named:
                who = (error.where or "(the model)", "", "")
                rows.setdefault((*who, error.code, error.detail, error.hint), []).append(
                    survey.target
                )
    everywhere = len(found.surveys)
    return [
        (*row[:3], "all" if len(targets) == everywhere else ", ".join(targets), *row[3:])
        for row, targets in rows.items()
    ]


def _sizes(sizes: Mapping[str, int], equals: str) -> str:
    return ", ".join(f"{name}{equals}{size}" for name, size in sizes.items())


def _totals(found: Check, survey: Survey) -> tuple[str, ...]:
    launches = survey.launches
    return (
        survey.target,
        "yes" if found.compilable_for(survey) else "no",
        str(survey.kernels),
        str(len(launches)),
        str(sum(len(launch.versions) for launch in launches)),
        quantity(sum(launch.operations for launch in launches)),
        megabytes(sum(launch.bytes for launch in launches)),
        megabytes(survey.arena_bytes),
        megabytes(survey.weight_bytes),
        megabytes(survey.workspace_bytes),
    )


def _verdict(found: Check) -> str:
    supported = sum(node.supported for node in found.nodes)
    refused = sum(node.refused for node in found.nodes)
    behind = len(found.nodes) - supported - refused
    text = f"{supported} of {len(found.nodes)} nodes can be compiled"
    if refused:
        text += f", {refused} cannot"
    return text + (f", {behind} stand behind those" if behind else "")


# --- JSON -----------------------------------------------------------------------------------------


def _json(found: Check) -> dict[str, Any]:
    return {
        "compilable": found.compilable,
        "sizes": dict(found.sizes),
        "operations": found.operations,
        "nodes": [_node_json(found, node) for node in found.nodes],
        "targets": [_survey_json(found, survey) for survey in found.surveys],
    }


def _node_json(found: Check, node: NodeCheck) -> dict[str, Any]:
    places = {
        target: {
            "how": list(place.how),
            "launches": list(place.launches),
            "errors": [_error_json(e) for e in place.errors],
        }
        for target, place in node.places.items()
    }
    return {
        **vars(node.report),
        "supported": node.supported,
        "refused": node.refused,
        "types": node.types,
        "operations": node.operations,
        "bytes": node.bytes,
        "live_bytes": _memory(found, node),
        "targets": places,
    }


def _survey_json(found: Check, survey: Survey) -> dict[str, Any]:
    return {
        "target": survey.target,
        "compilable": found.compilable_for(survey),
        "errors": [_error_json(e) for e in survey.errors],
        "kernels": survey.kernels,
        "operations": sum(launch.operations for launch in survey.launches),
        "bytes_moved": sum(launch.bytes for launch in survey.launches),
        "arena_bytes": survey.arena_bytes,
        "arena_lower_bound_bytes": survey.arena_lower_bound,
        "weight_bytes": survey.weight_bytes,
        "peak_bytes": survey.peak_bytes,
        "workspace_bytes": survey.workspace_bytes,
        "launches": [vars(launch) for launch in survey.launches],
    }


def _error_json(error: Any) -> dict[str, str]:
    return {
        "code": error.code, "where": error.where, "message": error.detail, "hint": error.hint
    }  # fmt: skip


# --- HTML -----------------------------------------------------------------------------------------


def _page(name: str, found: Check) -> str:
    groups = _groups(found)
    columns = (*_NODE, *("\n".join(group) for group in groups))
    numbers = frozenset(
        {"operations", "bytes", "memory", "launch", "kernel", "arena", "kernels", "launches"}
    )
    nodes: list[tuple[Cell | str, ...]] = [
        (
            node.report.name,
            node.report.op,
            node.types,
            Cell(quantity(node.operations), node.operations),
            Cell(megabytes(node.bytes), node.bytes),
            Cell(megabytes(_memory(found, node)), _memory(found, node)),
            *(Cell(_where(node.places[g[0]]), good=node.places[g[0]].supported) for g in groups),
        )
        for node in found.nodes
    ]
    tables = [
        Table("Cannot be compiled", _REFUSED, _refused(found)),
        Table("Targets", _TOTAL, [_totals(found, survey) for survey in found.surveys]),
        Table("Nodes", columns, nodes, numbers),
        *(
            Table(f"Launches on {s.target}", _LAUNCH, _launch_rows(s), numbers)
            for s in found.surveys
        ),
    ]
    sizes = _sizes(found.sizes, " = ")
    facts = [
        ("operations", quantity(found.operations)),
        ("estimated at", sizes or "fixed sizes"),
    ]
    return page(f"bireme check {name}", Cell(_verdict(found), good=found.compilable), facts, tables)


def _launch_rows(survey: Survey) -> list[list[Cell | str]]:
    return [
        [
            Cell(f"#{number}", number),
            str(launch.kernel),
            launch.template,
            "; ".join(_sizes(sizes, "=") for sizes in launch.versions),
            ", ".join(launch.nodes),
            ", ".join(launch.ops),
            Cell(quantity(launch.operations), launch.operations),
            Cell(megabytes(launch.bytes), launch.bytes),
            Cell(megabytes(launch.live_bytes), launch.live_bytes),
        ]
        for number, launch in enumerate(survey.launches)
    ]
