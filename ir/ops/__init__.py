"""The op table: every op of the dialect, by name. One file for each family."""

from __future__ import annotations

from bireme.ir.opdef import OpDef
from bireme.ir.ops import (
    constant,
    contraction,
    control,
    data_sized,
    elementwise,
    indexing,
    normalisation,
    pooling,
    quantisation,
    random,
    recurrent,
    reduction,
    resize,
    sampling,
    shape,
)


def _table(*families: tuple[OpDef, ...]) -> dict[str, OpDef]:
    ops = [op for family in families for op in family]
    table = {op.name: op for op in ops}
    assert len(table) == len(ops), "an op is defined twice"
    return table


OPS: dict[str, OpDef] = _table(
    constant.OPS,
    random.OPS,
    elementwise.OPS,
    shape.OPS,
    indexing.OPS,
    reduction.OPS,
    normalisation.OPS,
    contraction.OPS,
    pooling.OPS,
    resize.OPS,
    sampling.OPS,
    recurrent.OPS,
    quantisation.OPS,
    control.OPS,
    data_sized.OPS,
)
