"""Einstein summation as transposes, reshapes and matrix products."""

from __future__ import annotations

from functools import reduce

from bireme.frontend.nn.dispatch import place
from bireme.frontend.nn.tensor import Tensor, TensorLike, matmul, promote
from bireme.ir import BiremeError, Dim, product


def einsum(equation: str, *operands: TensorLike) -> Tensor:
    """The sum over letters that the result lacks: `einsum("bik,bkj->bij", x, y)`.

    Letters without `...`, each at most once for each operand; a size of 1 is not broadcast.
    Operands are joined from left to right. Raises BM1006.
    """
    terms, result = _parse(equation, len(operands))
    tensors = promote(*operands)
    for term, value in zip(terms, tensors, strict=True):
        if len(term) != value.ndim:
            raise _fault(f"{term!r} has {len(term)} letters for {value.type}")
    pairs = list(zip(terms, tensors, strict=True))

    def join(done: tuple[str, Tensor], index: int) -> tuple[str, Tensor]:
        rest = result + "".join(terms[index + 1 :])
        return _product(*done, *pairs[index], rest)

    term, value = reduce(join, range(1, len(pairs)), pairs[0])
    term, value = _sum_out(term, value, result)
    return _arrange(term, value, result)


def _fault(detail: str) -> BiremeError:
    return BiremeError("BM1006", detail, where=place(), hint='write letters: "bik,bkj->bij"')


def _parse(equation: str, count: int) -> tuple[list[str], str]:
    """Letters of the operands, and of the result."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != count:
        raise _fault(f"{equation!r} is for {len(terms)} operands; found {count}")
    letters = "".join(terms)
    if not arrow:
        result = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    for term in [*terms, result]:
        if not all(c.isascii() and c.isalpha() for c in term) or len(set(term)) != len(term):
            raise _fault(f"{term!r} of {equation!r} is not a list of distinct letters")
    if not set(result) <= set(letters):
        raise _fault(f"the result of {equation!r} has letters that no operand has")
    return terms, result


def _sum_out(term: str, value: Tensor, keep: str) -> tuple[str, Tensor]:
    axes = [i for i, c in enumerate(term) if c not in keep]
    return "".join(c for c in term if c in keep), value.sum(axes) if axes else value


def _arrange(term: str, value: Tensor, order: str) -> Tensor:
    return value if term == order else value.permute(*(term.index(c) for c in order))


def _product(a: str, x: Tensor, b: str, y: Tensor, rest: str) -> tuple[str, Tensor]:
    """One matrix product: letters in both are batch axes if `rest` needs them, else summed over."""
    a, x = _sum_out(a, x, rest + b)
    b, y = _sum_out(b, y, rest + a)
    batch = [c for c in a if c in b and c in rest]
    inner = [c for c in a if c in b and c not in rest]
    rows, columns = [c for c in a if c not in b], [c for c in b if c not in a]
    sizes: dict[str, Dim] = {
        **dict(zip(b, y.shape, strict=True)),
        **dict(zip(a, x.shape, strict=True)),
    }

    def merged(*groups: list[str]) -> list[Dim]:
        return [sizes[c] for c in batch] + [product([sizes[c] for c in g]) for g in groups]

    left = _arrange(a, x, "".join(batch + rows + inner)).reshape(*merged(rows, inner))
    right = _arrange(b, y, "".join(batch + inner + columns)).reshape(*merged(inner, columns))
    joined = batch + rows + columns
    return "".join(joined), matmul(left, right).reshape(*(sizes[c] for c in joined))
