"""A model of the nodes that are to blame: small enough to send, complete enough to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bireme._inputs import npz
from bireme.codegen.files import write_file
from bireme.frontend.onnx import Traced, part, values_of
from bireme.ir import Array, BiremeError

if TYPE_CHECKING:
    from bireme.frontend.onnx import Source


@dataclass(frozen=True)
class Repro:
    """A model of `nodes`, as ONNX bytes, with inputs and the outputs expected.

    `reproduces` is whether it shows the fault when it is compiled afresh.
    """

    nodes: tuple[str, ...]
    model: bytes
    inputs: Mapping[str, Array]
    expected: Mapping[str, Array]
    reproduces: bool
    folder: Path | None = None

    def write(self, folder: Path) -> Repro:
        """Writes `repro.onnx`, `inputs.npz` and `expected.npz`. Raises BM3006."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BiremeError("BM3006", str(error.strerror), where=str(folder)) from None
        write_file(folder / "repro.onnx", self.model)
        write_file(folder / "inputs.npz", npz(self.inputs))
        write_file(folder / "expected.npz", npz(self.expected))
        return replace(self, folder=folder)


def repro_of(
    traced: Traced,
    nodes: Sequence[str],
    feed: Mapping[str, Array],
    peer: Mapping[str, Array],
    is_wrong: Callable[[Source, Mapping[str, Array]], bool],
) -> Repro:
    """The first of `nodes` that is wrong by itself; all of them together when none is.

    Data is the peer's where it has any, else the reference's. `is_wrong` compiles and judges a
    model.
    """
    names = traced.outermost(nodes)
    groups = [[name] for name in names] + ([names] if len(names) > 1 else [])
    protos = [traced.nodes[name] for name in names]
    wanted = [name for side in (values_of([p]) for p in protos) for name in (*side[0], *side[1])]
    arrays = {**traced.arrays(feed, wanted), **{n: peer[n] for n in wanted if n in peer}}
    tried = [_made(traced, group, arrays) for group in groups]
    for repro in tried:
        if is_wrong(repro.model, repro.inputs):
            return replace(repro, reproduces=True)
    return tried[-1]


def _made(traced: Traced, names: Sequence[str], arrays: Mapping[str, Array]) -> Repro:
    model = part(traced, names, arrays)
    inputs = {i.name: arrays[i.name] for i in model.graph.input}
    expected = {o.name: arrays[o.name] for o in model.graph.output}
    return Repro(tuple(names), model.SerializeToString(), inputs, expected, False)
