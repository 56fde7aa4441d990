"""Runs passes over a graph: checks what they require and ensure, times them, records their gain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import ClassVar

from bireme.ir import BiremeError, Graph
from bireme.targets.description import Description


@dataclass(frozen=True)
class Property:
    """A fact about a graph. `violations` lists where it does not hold, in the model's names."""

    name: str
    violations: Callable[[Graph], list[str]]


@dataclass(frozen=True)
class Outcome:
    """What one run of a pass did. `gain` is one line for people, empty when nothing changed;
    `details` is what a pass has to say beyond that.
    """

    changed: bool
    gain: str = ""
    details: object = None


@dataclass(frozen=True)
class Pass:
    """A rewrite of a whole graph. Fields of a subclass are its options on the command line."""

    name: ClassVar[str]
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph, description: Description, /) -> Outcome:
        """Rewrites `graph` in place."""
        raise NotImplementedError


@dataclass(frozen=True)
class PassRecord:
    """One line of a pipeline's log."""

    name: str
    seconds: float
    ops_before: int
    ops_after: int
    changed: bool
    gain: str
    details: object = None

    def __str__(self) -> str:
        return f"{self.name:<16} {self.seconds * 1e3:8.1f} ms  {self.gain or 'nothing to do'}"


# Called as dump("03-fuse.before", graph) and dump("03-fuse.after", graph).
Dump = Callable[[str, Graph], None]


def dump_to(folder: Path, names: Sequence[str] = ()) -> Dump:
    """A dump that writes `<folder>/03-fuse.before.mlir`, around all passes or the named ones."""
    folder.mkdir(parents=True, exist_ok=True)

    def write(stage: str, graph: Graph) -> None:
        name = stage.partition("-")[2].rpartition(".")[0]
        if not names or name in names:
            (folder / f"{stage}.mlir").write_text(graph.text(locations=True), encoding="utf-8")

    return write


def run_passes(
    graph: Graph,
    description: Description,
    passes: Sequence[Pass],
    *,
    verify: bool = False,
    dump: Dump | None = None,
    report: Callable[[PassRecord], None] | None = None,
) -> list[PassRecord]:
    """Runs `passes` in order on `graph`, in place; `report` sees each record as it is made.

    With `verify`, the IR and the declared properties are checked around every pass. Raises BM3002
    naming the pass that broke them.
    """
    records = []
    for number, step in enumerate(passes):
        if verify:
            _check(graph, step.name, "requires", step.requires)
        if dump is not None:
            dump(f"{number:02}-{step.name}.before", graph)
        before = _count(graph)
        start = perf_counter()
        outcome = step.run(graph, description)
        seconds = perf_counter() - start
        if dump is not None:
            dump(f"{number:02}-{step.name}.after", graph)
        if verify:
            _verify(graph, step.name)
            _check(graph, step.name, "ensures", step.ensures)
        record = PassRecord(
            step.name,
            seconds,
            before,
            _count(graph),
            outcome.changed,
            outcome.gain,
            outcome.details,
        )
        records.append(record)
        if report is not None:
            report(record)
    return records


def _count(graph: Graph) -> int:
    return sum(1 for _ in graph.walk())


def _verify(graph: Graph, name: str) -> None:
    try:
        graph.verify()
    except BiremeError as error:
        raise BiremeError("BM3002", str(error), where=f"pass {name}") from error


def _check(graph: Graph, name: str, verb: str, properties: Sequence[Property]) -> None:
    for fact in properties:
        violations = fact.violations(graph)
        if violations:
            listed = "; ".join(violations[:5])
            more = f" and {len(violations) - 5} more" if len(violations) > 5 else ""
            raise BiremeError(
                "BM3002", f"{verb} {fact.name}; found {listed}{more}", where=f"pass {name}"
            )


def count(number: int, noun: str) -> str:
    """`1 op`, `2 ops`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
