"""The rows of docs/coverage.md: which op runs on which target, which ONNX operators are read."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import defs

from bireme.codegen.rules import RULES
from bireme.frontend.onnx.model import NEWEST_OPSET, OLDEST_OPSET
from bireme.frontend.onnx.ops import TABLES, find_converter
from bireme.ir import OPS, Fusion
from bireme.passes import decompose
from bireme.targets.registry import names

# Steps of the plan, without a kernel of their own (codegen/lower.py).
PLANNED = frozenset({
    "bind", "constant", "if", "kernel", "prefix", "random_key", "reshape", "scan", "while",
})  # fmt: skip
# Always rewritten into other ops before code generation.
DECOMPOSED = frozenset(name for rule in decompose.RULES for name in rule.ops)
NONE = "—"


def how(op: str) -> str:
    """Return how the compiler runs an op: in a kernel, by a step of the plan, or not at all."""
    if op in PLANNED:
        return "plan"
    if op in RULES:
        return "kernel"
    if op in DECOMPOSED:
        return "rewritten"
    # Ops that no rule describes element by element have a template of their own, which
    # tests/codegen/test_rules.py makes sure of.
    return "kernel" if op in OPS and OPS[op].fusion is Fusion.OPAQUE else NONE


def targets() -> list[str]:
    """Return the families of chips, in the order of the registry."""
    return list(dict.fromkeys(name.partition(":")[0] for name in names()))


def op_rows() -> Iterator[list[str]]:
    """Yield for every op of the dialect its name, and how each target runs it.

    One code generator serves all targets so far, so their columns agree.
    """
    for name in sorted(OPS):
        yield [f"[`{name}`](ops.md#{name})", *[how(name)] * len(targets())]


def first_opset(operator: str) -> int | None:
    """Return the oldest opset in which an operator is read from a model, or None.

    Operators without a converter are read by the bodies that ONNX gives them, if it does; not those
    that take sequences.
    """
    for opset in range(OLDEST_OPSET, NEWEST_OPSET + 1):
        if not defs.has(operator, opset):
            continue
        if find_converter("", operator, opset) or _has_body(operator, opset):
            return opset
    return None


def _has_body(operator: str, opset: int) -> bool:
    schema = defs.get_schema(operator, opset)
    body = schema.has_function or schema.has_context_dependent_function
    takes_sequences = any("seq(" in kind for i in schema.inputs for kind in i.types)
    return body and not takes_sequences


def onnx_rows() -> Iterator[list[str]]:
    """Yield for every operator of ONNX's default domain its name and the first opset read."""
    schemas = {s.name for s in defs.get_all_schemas() if s.domain == "" and not s.deprecated}
    for name in sorted(schemas):
        yield [f"`{name}`", str(first_opset(name) or NONE)]


def microsoft_rows() -> Iterator[list[str]]:
    """Yield the names of the operators of ONNX Runtime's domain that are read."""
    for name in sorted(TABLES["com.microsoft"]):
        yield [f"`{name}`"]
