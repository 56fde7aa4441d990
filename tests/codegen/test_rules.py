"""Every op that can stand in a kernel has a rule, or a template of its own."""

from __future__ import annotations

from bireme.codegen.rules import RULES
from bireme.ir.opdef import Fusion
from bireme.ir.ops import OPS

# Ops whose elements depend on each other in an order, so that only a template can make them.
BY_TEMPLATE = {"scatter_elements", "scatter_nd", "lstm", "gru", "rnn"}
BY_TEMPLATE |= {"compact", "sort_rows", "suppress"}
# Never inside a kernel.
OUTSIDE = {Fusion.CONTROL, Fusion.SIZE, Fusion.STATE}


def test_no_op_is_forgotten():
    wanted = {op.name for op in OPS.values() if op.fusion not in OUTSIDE}
    assert wanted - set(RULES) == BY_TEMPLATE
    assert set(RULES) <= wanted
