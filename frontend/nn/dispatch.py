"""Where an op call goes: evaluated at once on arrays, or added to the graph being traced.

Below the `Tensor` class a value is a `Source`: an array, a `Weight` (an array with an identity,
drawn when first read), or a graph `Value`. While a trace is under way, an op that reads a weight or
a graph value is traced; an op on plain arrays is evaluated at once, in a trace or not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np

from bireme.ir import (
    Array,
    BiremeError,
    Block,
    Builder,
    DimExpr,
    DType,
    Graph,
    SymbolRange,
    TensorType,
    Value,
)
from bireme.ir.reference import run_op


@dataclass(eq=False)
class Weight:
    """An array of a known type that `draw` makes when it is first needed; may be replaced."""

    type: TensorType
    draw: Callable[[], Array]

    @cached_property
    def array(self) -> Array:
        return self.draw()


Source = Array | Weight | Value


def type_of(source: Source) -> TensorType:
    """Element type and shape of a source."""
    if isinstance(source, (Weight, Value)):
        return source.type
    return TensorType(DType.of(source), source.shape)


# --- where in the user's program we are -----------------------------------------------------------


@dataclass
class Scope:
    """The outermost module being called: names of its submodules, and those now running."""

    paths: Mapping[int, str]
    running: list[str] = field(default_factory=list)


SCOPE: ContextVar[Scope | None] = ContextVar("scope", default=None)
_HERE = str(Path(__file__).parent) + os.sep


def _spot(frame: FrameType, line: int) -> str:
    """`package/file.py:line`: the same on every machine, wherever the package is installed."""
    file = Path(frame.f_code.co_filename).name
    package = str(frame.f_globals.get("__name__", "")).rpartition(".")[0].replace(".", "/")
    return f"{package}/{file}:{line}" if package else f"{file}:{line}"


def _is_user(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return not file.startswith((_HERE, "<"))


def place(traceback: TracebackType | None = None) -> str:
    """Module path and the user's innermost line, `layers.3.conv1 (net/model.py:57)`.

    The line is the last one of `traceback` that is not in this package, or else of the call stack.
    """
    spot = ""
    while traceback is not None:
        if _is_user(traceback.tb_frame):
            spot = _spot(traceback.tb_frame, traceback.tb_lineno)
        traceback = traceback.tb_next
    if not spot:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and not _is_user(frame):
            frame = frame.f_back
        spot = _spot(frame, frame.f_lineno) if frame is not None else "?"
    scope = SCOPE.get()
    path = scope.running[-1] if scope and scope.running else ""
    return f"{path} ({spot})" if path else spot


# --- tracing --------------------------------------------------------------------------------------


class Tracer:
    """Adds ops to a graph, each at the user's place; weights become named constants once."""

    def __init__(self, graph: Graph, names: Mapping[int, str]) -> None:
        self.graph = graph
        self.ranges = graph.symbols
        self._names = names
        self._builders = [Builder(graph)]
        self._constants: dict[int, tuple[Source, Value]] = {}
        self._streams = 0

    def new_stream(self) -> int:
        """A stream of random numbers that no other op has (`random_key`)."""
        self._streams += 1
        return self._streams

    def value(self, source: Source) -> Value:
        """The graph value of any source."""
        if isinstance(source, Value):
            if source.graph is not self.graph:
                raise BiremeError(
                    "BM1008",
                    "a tensor of an earlier trace is used in this one",
                    where=place(),
                    hint="do not keep traced tensors in attributes or globals",
                )
            return source
        found = self._constants.get(id(source))
        if found is None:
            array = source.array if isinstance(source, Weight) else source
            # In the function's own block, which every region may read.
            made = Builder(self.graph).at(place()).constant(array, self._names.get(id(source), ""))
            found = self._constants[id(source)] = (source, made)
        return found[1]

    def add(
        self,
        name: str,
        operands: Sequence[Source],
        attrs: Mapping[str, Any],
        regions: Sequence[Block] = (),
    ) -> list[Value]:
        values = [self.value(s) for s in operands]
        builder = self._builders[-1].at(place())
        return builder.op(name, values, regions, **attrs).results

    def region(
        self, arguments: Sequence[TensorType], body: Callable[[list[Value]], Sequence[Source]]
    ) -> Block:
        """A detached block: `body` is run on its arguments and gives what it yields."""
        block = self._builders[-1].block(arguments)
        builder = Builder(self.graph, block=block)
        self._builders.append(builder)
        try:
            builder.yield_([self.value(s) for s in body(block.arguments)])
        finally:
            self._builders.pop()
        return block


TRACER: ContextVar[Tracer | None] = ContextVar("tracer", default=None)


@contextmanager
def tracing(tracer: Tracer) -> Iterator[None]:
    """Inside, ops on weights and graph values go to the tracer's graph. Raises BM1008 if nested."""
    if TRACER.get() is not None:
        raise BiremeError("BM1008", "a trace is already under way", where=place())
    token = TRACER.set(tracer)
    try:
        yield
    finally:
        TRACER.reset(token)


def symbol_ranges() -> Mapping[str, SymbolRange]:
    """Sizes that the symbols of the trace under way may have."""
    tracer = TRACER.get()
    return tracer.ranges if tracer is not None else {}


def is_symbolic(sources: Sequence[Source]) -> bool:
    """Whether one of these is known only to the trace under way."""
    return not all(isinstance(s, np.ndarray) for s in sources)


def _array(source: Source) -> Array:
    if isinstance(source, Value):
        raise BiremeError(
            "BM1008",
            "a traced tensor is used after its trace has ended",
            where=place(),
            hint="do not keep traced tensors in attributes or globals",
        )
    return source.array if isinstance(source, Weight) else source


def run(name: str, operands: Sequence[Source], attrs: Mapping[str, Any]) -> list[Source]:
    """Runs op `name` of the table. Raises what its type rule raises, at the user's place."""
    tracer = TRACER.get()
    if tracer is not None and (not operands or is_symbolic(operands) or _has_symbols(attrs)):
        return list(tracer.add(name, operands, attrs))
    arrays = [_array(s) for s in operands]
    try:
        return list(run_op(name, arrays, attrs))
    except BiremeError as error:
        raise error.at(place()) from None


def _has_symbols(attrs: Mapping[str, Any]) -> bool:
    return any(
        isinstance(d, DimExpr) for v in attrs.values() if isinstance(v, (tuple, list)) for d in v
    )
