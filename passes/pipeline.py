"""The passes by name, and the pipeline that prepares a graph for code generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from bireme.ir import BiremeError, Graph
from bireme.passes.cse import Cse
from bireme.passes.dce import Dce
from bireme.passes.decompose import Decompose
from bireme.passes.fold_batch_norm import FoldBatchNorm
from bireme.passes.fold_constants import FoldConstants
from bireme.passes.fuse import Fuse
from bireme.passes.layout import Layout
from bireme.passes.manager import Dump, Pass, PassRecord, run_passes
from bireme.passes.pack_matmul import PackMatmul
from bireme.passes.pack_recurrent import PackRecurrent
from bireme.passes.pad_once import PadOnce
from bireme.passes.precision import Precision
from bireme.passes.simplify import Simplify
from bireme.passes.winograd import Winograd
from bireme.targets.description import Description

PASSES: dict[str, type[Pass]] = {
    each.name: each
    for each in (
        Cse,
        Dce,
        Decompose,
        FoldBatchNorm,
        FoldConstants,
        Fuse,
        Layout,
        PackMatmul,
        PackRecurrent,
        PadOnce,
        Precision,
        Simplify,
        Winograd,
    )
}

DEFAULT: tuple[Pass, ...] = (
    Dce(),
    FoldConstants(),
    Cse(),  # equal values become one, which the patterns of simplify rely on
    Simplify(),
    FoldBatchNorm(),
    Decompose(),  # takes the batch norms that could not be folded
    PackRecurrent(),  # in ops that are folded below
    Simplify(),
    FoldConstants(),
    Cse(),
    Layout(),  # packs weights, so what changes weights comes before it
    PackMatmul(),
    Winograd(),
    Cse(),  # paddings of one value, made by layout
    PadOnce(),
    Dce(),
    Fuse(),  # last: the passes before it do not look into kernels
)


def default(*, winograd: bool = True, precision: Precision | None = None) -> tuple[Pass, ...]:
    """The default pipeline with other options of its passes.

    With `precision`, that pass decides behind those that pack weights. It leaves convolutions to
    Winograd's form where that is faster.
    """
    passes = [step for step in DEFAULT if winograd or not isinstance(step, Winograd)]
    if precision is not None:
        place = next(number for number, step in enumerate(passes) if isinstance(step, PackMatmul))
        passes.insert(place + 1, replace(precision, winograd=winograd))
    return tuple(passes)


def make_pass(name: str, **options: Any) -> Pass:
    """The pass called `name` on the command line. Raises BM3001 for an unknown name or option."""
    if name not in PASSES:
        raise BiremeError("BM3001", f"expected one of {', '.join(sorted(PASSES))}; found {name!r}")
    try:
        return PASSES[name](**options)
    except TypeError:
        known = ", ".join(f.name for f in fields(PASSES[name])) or "no options"
        given = ", ".join(options)
        raise BiremeError("BM3001", f"{name} takes {known}; found {given}", where=name) from None


def optimise(
    graph: Graph,
    description: Description,
    *,
    verify: bool = False,
    dump: Dump | None = None,
    passes: Sequence[Pass] = DEFAULT,
    report: Callable[[PassRecord], None] | None = None,
) -> list[PassRecord]:
    """Runs the default pipeline (or `passes`) on `graph`, in place. See `run_passes`."""
    return run_passes(graph, description, passes, verify=verify, dump=dump, report=report)
