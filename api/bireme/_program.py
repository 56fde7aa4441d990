"""The Python face: `compile`, `load` and what they return."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bireme.codegen.compiler import Options, Progress, Report, compile_graph
from bireme.codegen.files import write_file
from bireme.codegen.specialize import Choices
from bireme.ir import Array, BiremeError, Graph
from bireme.passes.guard import Feed
from bireme.passes.precision import precision_for
from bireme.runtime import Model, Session
from bireme.targets.registry import find

if TYPE_CHECKING:
    from bireme.frontend.onnx import Source

__all__ = ["Program", "compile", "load"]


class Program:
    """A compiled model, ready to run. Calls on one program must not overlap; make a `Session` a
    thread.

    Attributes:
        model: the loaded artefact; names, types and shapes of inputs and outputs.
        report: figures of the compilation, or None when it was loaded from a file.
    """

    def __init__(
        self,
        model: Model,
        data: bytes | None,
        report: Report | None,
        threads: int | None,
        seed: int | None = None,
    ) -> None:
        self.model = model
        self.report = report
        self._data = data
        self._session = Session(model, threads=threads, seed=seed)

    def __call__(self, *inputs: Any, **named: Any) -> dict[str, Array]:
        """Runs the model on arrays given in order, by name, or as one mapping; gives outputs by
        name.
        """
        feed: dict[str, Any] = dict(named)
        if len(inputs) == 1 and isinstance(inputs[0], Mapping):
            feed.update(inputs[0])
        else:
            names = [info.name for info in self.model.inputs]
            if len(inputs) > len(names):
                raise BiremeError("BM6003", f"expected {len(names)} inputs; found {len(inputs)}")
            feed.update(zip(names, inputs, strict=False))
        return self._session.run(feed)

    @property
    def seed(self) -> int:
        """What random numbers of the model depend on, in [0, 2**64): the runs after it was set have
        the numbers of those after it was set before. At first it is one from the operating system.
        """
        return self._session.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._session.seed = seed

    @property
    def peak_bytes(self) -> int:
        """Most memory that runs have held, in bytes, without weights."""
        return self._session.peak_bytes

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the artefact, whole or not at all. Raises BM3006."""
        if self._data is None:
            raise BiremeError(
                "BM3006", "the program was loaded from a file: copy it", where=str(path)
            )
        write_file(path, self._data)


def compile(
    model: Source | Graph,
    target: str = "x86",
    *,
    dims: Mapping[str, Any] | None = None,
    constants: Mapping[str, Array] | None = None,
    specialize: Choices | Sequence[Choices] = (),
    precision: str = "float32",
    calibration: Feed | Sequence[Feed] = (),
    threads: int | None = None,
    seed: int | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Program:
    """Compiles a model for a target and loads it.

    `model` is a path, bytes or ModelProto of ONNX, or a Graph. `dims` fixes symbolic sizes
    (`{"batch": 1}`) or gives them a range (`{"batch": range(1, 65)}`); `constants` turns inputs
    into data. `specialize` names sizes that get kernels of their own, chosen at run time:
    `{"seq": [16, 64, 128]}`; sizes of several symbols are combined, several mappings are not.
    `precision` is `float32`, `bf16`, `fp16` or `auto`: what contractions multiply in where that is
    safe; sums and everything else stay float32. `calibration` is one set of inputs by name or
    several, real ones, which the choice is tested on; `report.precision` says what was chosen.
    `threads` is the most that a run may use; `seed` is that of the program. Raises BiremeError.
    """
    if isinstance(model, Graph):
        graph = model
    else:
        from bireme.frontend import onnx

        graph = onnx.load(model, dims=dims or {}, constants=constants or {})
    if specialize:
        choices = [specialize] if isinstance(specialize, Mapping) else specialize
        options = replace(options or Options(), specialize=choices)
    feeds = [calibration] if isinstance(calibration, Mapping) else calibration
    chosen = precision_for(precision, feeds)
    if chosen is not None:
        options = replace(options or Options(), precision=chosen)
    data, report = compile_graph(graph, find(target), options, progress)
    return Program(Model.load(data), data, report, threads, seed)


def load(
    path: str | os.PathLike[str], *, threads: int | None = None, seed: int | None = None
) -> Program:
    """Loads an artefact from a file. Raises `bireme.runtime.RuntimeFault`."""
    return Program(Model.load(path, threads=threads), None, None, threads, seed)
