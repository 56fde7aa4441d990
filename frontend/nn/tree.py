"""Nested tuples, lists, dicts and dataclasses of tensors as flat lists and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from bireme.frontend.nn.dispatch import place
from bireme.frontend.nn.tensor import Tensor, TensorLike, tensor
from bireme.ir import BiremeError


def _children(tree: Any) -> list[tuple[str, Any]] | None:
    """Named parts of a container; None for anything else."""
    if isinstance(tree, Mapping):
        return [(str(k), v) for k, v in tree.items()]
    if hasattr(tree, "_fields"):
        return list(zip(tree._fields, tree, strict=True))
    if isinstance(tree, (tuple, list)):
        return [(str(i), v) for i, v in enumerate(tree)]
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return [(f.name, getattr(tree, f.name)) for f in dataclasses.fields(tree)]
    return None


def named_leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor with its path, `state.0`; a None is left out. Raises BM1008 for other things."""
    if tree is None:
        return
    children = _children(tree)
    if children is None:
        yield prefix, _leaf(tree)
        return
    for name, child in children:
        yield from named_leaves(child, f"{prefix}.{name}" if prefix else name)


def _leaf(value: TensorLike) -> Tensor:
    try:
        return tensor(value)
    except (BiremeError, TypeError, ValueError):
        detail = f"a {type(value).__name__} stands where a tensor is expected"
        raise BiremeError("BM1008", detail, where=place()) from None


def leaves(tree: Any) -> list[Tensor]:
    """Every tensor, in order."""
    return [leaf for _, leaf in named_leaves(tree)]


def rebuild(tree: Any, values: Iterator[Any]) -> Any:
    """A tree of the same form with these leaves."""
    if tree is None:
        return None
    children = _children(tree)
    if children is None:
        return next(values)
    parts = [rebuild(child, values) for _, child in children]
    if isinstance(tree, Mapping):
        return dict(zip(tree, parts, strict=True))
    if isinstance(tree, (tuple, list)) and not hasattr(tree, "_fields"):
        return type(tree)(parts)
    return type(tree)(*parts)
