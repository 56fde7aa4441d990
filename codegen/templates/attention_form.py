"""Which groups are attention, and what their parts are."""

from __future__ import annotations

from dataclasses import dataclass

from bireme.codegen.evaluate import Evaluator, Index
from bireme.codegen.templates.tiles import COLUMNS
from bireme.codegen.tir import Expr, index
from bireme.ir import Dim, DType, Fusion, Graph, Op, Value


@dataclass(frozen=True)
class Result:
    """An output: the value at the shape of the second product that it holds, and which axis of that
    each of its own is.
    """

    value: Value
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Form:
    """Attention as the template sees it: `mixed` = softmax(`scores`) · V, where `scores` are ops on
    `products` = Q · Kᵀ. Per head there are `rows` queries of `depth` elements, `keys` keys, and
    values of `width` elements.
    """

    products: Op
    scores: Value
    mixed: Op
    results: tuple[Result, ...]
    depth: int
    width: int

    @classmethod
    def of(cls, graph: Graph) -> Form | None:
        """The form of a group; None when it is something else."""
        soft = [op for op in graph.body.ops if op.name == "softmax"]
        if len(soft) != 1 or soft[0].attrs["axis"] % soft[0].result.type.rank != _last(soft[0]):
            return None
        contractions = [o for o in graph.body.ops if o.definition.fusion is Fusion.CONTRACTION]
        if len(contractions) != 2 or not all(map(is_plain_product, contractions)):
            return None
        products, mixed = contractions
        (softmax,) = soft
        if softmax.result.uses != [(mixed, 0)] or not _leads_to(products, softmax):
            return None
        depth, width = products.operands[0].type.shape[-1], mixed.result.type.shape[-1]
        if products.result.type.shape[:-2] != mixed.result.type.shape[:-2]:
            return None
        results = [_result(output, mixed) for output in graph.outputs]
        known = [result for result in results if result is not None]
        if len(known) < len(results) or not isinstance(depth, int) or not isinstance(width, int):
            return None
        return cls(products, softmax.operands[0], mixed, tuple(known), depth, width)

    @property
    def batch(self) -> tuple[Dim, ...]:
        return self.products.result.type.shape[:-2]

    @property
    def rows(self) -> Dim:
        return self.products.result.type.shape[-2]

    @property
    def keys(self) -> Dim:
        return self.products.result.type.shape[-1]

    @property
    def value_blocks(self) -> int:
        return -(-self.width // COLUMNS)

    @property
    def keys_are_rows(self) -> bool:
        """Whether the elements of a key follow each other in memory."""
        b = self.products.operands[1]
        owner = b.owner
        if owner is None or owner.name != "transpose":
            return False
        return bool(owner.attrs["perm"][-2] == b.type.rank - 1)

    @property
    def ignores_column(self) -> bool:
        """Whether the scores read nothing in memory that differs from key to key."""
        pending, seen = [self.scores], {self.products.result}
        while pending:
            value = pending.pop()
            if value in seen:
                continue
            seen.add(value)
            if value.owner is None or value.owner.definition.fusion is not Fusion.POINTWISE:
                if value.type.rank and value.type.shape[-1] != 1:
                    return False
            else:
                pending += value.owner.operands
        return True

    def query(self, evaluator: Evaluator, batch: Index, row: Expr, k: Expr) -> Expr:
        q = self.products.operands[0]
        return evaluator.at(q, [*own_batch(q, batch), row, k])

    def key(self, evaluator: Evaluator, batch: Index, k: Expr, column: Expr) -> Expr:
        b = self.products.operands[1]
        return evaluator.at(b, [*own_batch(b, batch), k, column])

    def value(self, evaluator: Evaluator, batch: Index, k: Expr, column: Expr) -> Expr:
        v = self.mixed.operands[1]
        return evaluator.at(v, [*own_batch(v, batch), k, column])


def is_plain_product(op: Op) -> bool:
    """Whether an op is a float32 product of two activations."""
    values = [*op.operands, op.result]
    return (
        op.name == "matmul"
        and op.attrs["block"] == 1
        and all(v.type.dtype is DType.F32 for v in values)
    )


def own_batch(operand: Value, batch: Index) -> Index:
    """The batch index of an operand whose batch axes may be fewer or of size 1."""
    sizes = operand.type.shape[:-2]
    own = batch[len(batch) - len(sizes) :]
    return [index(0) if size == 1 else at for size, at in zip(sizes, own, strict=True)]


def _last(op: Op) -> int:
    return op.result.type.rank - 1


def _leads_to(products: Op, softmax: Op) -> bool:
    """Whether all that reads the first product is element-wise at its shape and ends in the
    softmax.
    """
    shape = products.result.type.shape
    pending = [products]
    while pending:
        op = pending.pop()
        for user, _ in op.result.uses:
            if user == softmax:
                continue
            pointwise = user.definition.fusion is Fusion.POINTWISE
            if user.is_terminator or not pointwise or user.result.type.shape != shape:
                return False
            pending.append(user)
    return softmax.operands[0].type.shape == shape


def _result(output: Value, mixed: Op) -> Result | None:
    """What an output holds; None when it is not element-wise behind the second product."""
    shape, owner = mixed.result.type.shape, output.owner
    axes = tuple(range(len(shape)))
    if owner is not None and owner.name == "transpose":
        output, axes = owner.operands[0], owner.attrs["perm"]
    if output.type.shape != shape or output.owner is None:
        return None
    return Result(output, axes) if _is_behind(output, mixed) else None


def _is_behind(value: Value, mixed: Op) -> bool:
    """Whether element-wise ops make a value of the second product and of arguments."""
    owner = value.owner
    if owner == mixed:
        return True
    if owner is None or owner.definition.fusion is not Fusion.POINTWISE:
        return False
    return any(_is_behind(v, mixed) for v in owner.operands)
