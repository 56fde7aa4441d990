"""Rewrite rules as data, and the driver that applies them to a fixed point.

A rule names the ops it starts from and holds a function. The function gets one such op and a
builder that stands just before it and carries its source location. It returns what replaces the
op's results, or None to leave the op alone; it makes new ops only when it replaces. Lists of rules
concatenate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bireme.ir import Block, Builder, Graph, Op, Value

Replacement = Value | Sequence[Value] | None
Rewrite = Callable[[Op, Builder], Replacement]

# Ours need a handful. A list that undoes its own work is stopped here: every step leaves a valid
# graph that computes the same, so a user loses speed and nothing else.
MOST_SWEEPS = 64


@dataclass(frozen=True)
class Rule:
    """`rewrite` is tried on every op whose name is in `ops`."""

    ops: tuple[str, ...]
    rewrite: Rewrite

    @property
    def name(self) -> str:
        return self.rewrite.__name__.strip("_").replace("_", "-")


def rule(*ops: str) -> Callable[[Rewrite], Rule]:
    """Makes a function a rule: `@rule("add", "sub")`."""
    return lambda rewrite: Rule(ops, rewrite)


def apply(graph: Graph, rules: Iterable[Rule]) -> dict[str, int]:
    """Applies `rules` until none fits; gives how often each was used. Removes what becomes unused.

    Sweeps in program order, at most `MOST_SWEEPS` times; an op is offered the rules in the order of
    the list.
    """
    by_op: dict[str, list[Rule]] = {}
    for each in rules:
        for name in each.ops:
            by_op.setdefault(name, []).append(each)
    used: dict[str, int] = {}
    for _ in range(MOST_SWEEPS):
        before = sum(used.values())
        _sweep(graph.body, by_op, used)
        remove_unused(graph.body)
        if sum(used.values()) == before:
            break
    return used


def _sweep(block: Block, by_op: dict[str, list[Rule]], used: dict[str, int]) -> None:
    for op in block.ops:
        if _rewrite(op, by_op.get(op.name, ()), used):
            continue
        for inner in op.blocks:
            _sweep(inner, by_op, used)


def _rewrite(op: Op, rules: Sequence[Rule], used: dict[str, int]) -> bool:
    if rules and not any(v.uses for v in op.results):
        return False
    for each in rules:
        found = each.rewrite(op, Builder(op.graph, before=op))
        if found is None:
            continue
        op.replace_with([found] if isinstance(found, Value) else found)
        used[each.name] = used.get(each.name, 0) + 1
        return True
    return False


def remove_unused(block: Block) -> int:
    """Removes every op, at any depth, whose results nothing reads; gives how many.

    What binds a size stays, for that may be used. `Dce` removes those whose is not.
    """
    removed = 0
    for op in reversed(block.ops):
        if not any(v.uses for v in op.results) and not op.binds:
            op.erase()
            removed += 1
            continue
        removed += sum(remove_unused(inner) for inner in op.blocks)
    return removed
