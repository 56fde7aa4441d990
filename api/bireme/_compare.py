"""`compare`: a compiled model against the reference, to the first node that differs.

Three questions are asked, each of a part of the way from ONNX to the artefact:

* Does the reference give what the peer gives, on the imported graph? Only where the peer is another
  than the reference itself.
* Does each kernel give what the reference gives, on the operands that it really had? Values between
  kernels are seen by `bireme.codegen.steps`: in the very artefact, if this version compiles the
  model to the same plan, else in a fresh one.
* Does the reference give the same on the graph that the passes made?

A kernel is a group of nodes; which of them is wrong shows when each is compiled by itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bireme._inputs import read_inputs
from bireme._repro import Repro, repro_of
from bireme.codegen.accuracy import Difference, model_difference
from bireme.codegen.compiler import Options, compile_graph, reduced_to
from bireme.codegen.instrument import symbols_of
from bireme.codegen.steps import Inside, Step, Steps, judge_steps, pass_at_fault
from bireme.frontend import onnx
from bireme.frontend.onnx import Traced, peer
from bireme.ir import Array, BiremeError, Graph, reference
from bireme.ir.data import made_up_inputs
from bireme.passes.guard import Feed
from bireme.passes.precision import Precision, precision_for
from bireme.runtime import Model, Session

if TYPE_CHECKING:
    from bireme.frontend.onnx import Source

__all__ = ["Comparison", "Fault", "compare"]

PEERS = ("reference", "onnxruntime")


@dataclass(frozen=True)
class Fault:
    """What is to blame. `stage` is `import`, `passes`, `kernel`, `artefact` (the file is not what
    this version compiles) or `rounding` (no step is wrong, small differences add up). `nodes` are
    the model's names, `what` explains; `within` is the loop or branch that they stand in, and the
    iteration that goes wrong first.
    """

    stage: str
    nodes: tuple[str, ...]
    what: str
    within: str = ""


@dataclass(frozen=True)
class Comparison:
    """`outputs` judges the artefact's outputs; `steps` every value between kernels, in the order of
    execution; `imported` the reference's values against another peer's, by ONNX value. `own` is
    whether the steps are those of the artefact, not of a fresh one. `inside` are the steps of the
    first wrong loop or branch, in the iteration in which it first goes wrong.
    """

    against: str
    outputs: Mapping[str, Difference]
    steps: Sequence[Step]
    own: bool
    inside: Inside | None = None
    imported: Mapping[str, Difference] = field(default_factory=dict)
    fault: Fault | None = None
    repro: Repro | None = None

    @property
    def agrees(self) -> bool:
        """Whether the outputs agree and nothing on the way to them is wrong."""
        return self.fault is None


def compare(
    model: Source,
    artefact: str | os.PathLike[str] | bytes,
    inputs: Mapping[str, Array] | str | os.PathLike[str] | None = None,
    *,
    against: str = "reference",
    dims: Mapping[str, int | range] | None = None,
    constants: Mapping[str, Array] | None = None,
    seed: int = 0,
    value_range: tuple[int, int] | None = None,
    repro: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    precision: str = "float32",
    calibration: Feed | Sequence[Feed] = (),
    limit: float = Precision.limit,
) -> Comparison:
    """Compares an artefact with the ONNX model that it was compiled from.

    `inputs` are arrays by name, or an .npz file of them. Without them, data is made up from `seed`:
    integers of 0 and 1 and normally distributed floats, or both in `value_range`. `dims` and
    `constants` are those of `compile`; what the artefact fixes need not be repeated, and for a
    symbol that it has kept `dims` gives the size of the data, instead of a typical one. `against`
    is the numpy `reference` or `onnxruntime`. `precision`, `calibration` and `limit` are those of
    the compilation, too: steps are then judged on the operands that they had, outputs by the
    tolerance of the reduced type. `repro` is a folder to write a model of the wrong
    node to, with its inputs and the outputs expected. Raises BiremeError,
    `bireme.runtime.RuntimeFault`.
    """
    if against not in PEERS:
        raise BiremeError("BM6002", f"expected one of {', '.join(PEERS)}; found {against!r}")
    data = artefact if isinstance(artefact, bytes) else _read(artefact)
    compiled = Model.load(data)
    symbols = symbols_of(data)
    sizes = {k: v for k, v in (dims or {}).items() if k in symbols and isinstance(v, int)}
    fixed = {k: v for k, v in (dims or {}).items() if k not in sizes}
    traced = _traced(model, compiled, symbols, fixed, constants or {})
    if inputs is None:
        inputs = made_up_inputs(traced.graph, sizes, seed=seed, value_range=value_range)
    elif not isinstance(inputs, Mapping):
        inputs = read_inputs(Path(inputs), compiled)
    arrays, given = inputs, constants or {}
    feeds = [calibration] if isinstance(calibration, Mapping) else calibration
    options = Options(precision=precision_for(precision, feeds, limit))
    judged = partial(_judge, against=against, threads=threads)
    found, seen, values = judged(traced, compiled, data, arrays, constants=given, options=options)
    if found.fault is None or not found.fault.nodes:
        return found

    def is_wrong(part: Source, feed: Mapping[str, Array]) -> bool:
        """Whether the fault shows in a model of some of the nodes, compiled afresh."""
        small = onnx.load_traced(part)
        # Calibration inputs are those of the whole model.
        alone = Options(cache=None, jobs=0, precision=precision_for(precision, (), limit))
        fresh, _ = compile_graph(small.graph, seen.target, alone)
        loaded = Model.load(fresh)
        return not judged(small, loaded, fresh, feed, constants={}, options=alone)[0].agrees

    made = repro_of(traced, found.fault.nodes, arrays, values, is_wrong)
    if repro is not None:
        made = made.write(Path(repro))
    return replace(found, fault=_narrowed(found.fault, made), repro=made)


def _judge(
    traced: Traced,
    compiled: Model,
    data: bytes,
    feed: Mapping[str, Array],
    *,
    against: str,
    constants: Mapping[str, Array],
    threads: int | None,
    options: Options,
) -> tuple[Comparison, Steps, Mapping[str, Array]]:
    """The comparison without a repro, how the steps were seen, and the peer's values by name."""
    found = Session(compiled, threads=threads, seed=0).run(feed)  # the seed of the reference
    own = reference.run(traced.graph, feed)
    values: Mapping[str, Array] = {}
    imported: dict[str, Difference] = {}
    if against != "reference":
        values = peer.run(traced, {**feed, **constants})
        ours = traced.arrays(feed, list(values))
        imported = {n: model_difference(a, ours[n]) for n, a in values.items() if n in ours}
    wanted = {**own, **{n: values[n] for n in own if n in values}}
    reduced = reduced_to(options)
    outputs = {name: model_difference(wanted[name], y, reduced) for name, y in found.items()}
    seen = judge_steps(traced.graph, data, feed, threads, options)
    fault = (
        _import_fault(traced, imported)
        or _step_fault(seen)
        or _pass_fault(traced.graph, seen, feed, own, options)
        or _rest_fault(seen, outputs)
    )
    compared = Comparison(against, outputs, seen.steps, seen.own, seen.inside, imported, fault)
    return compared, seen, values


# --- blame ----------------------------------------------------------------------------------------


def _import_fault(traced: Traced, imported: Mapping[str, Difference]) -> Fault | None:
    for name, node in traced.nodes.items():
        if any(o in imported and not imported[o].agrees for o in node.output):
            return Fault("import", (name,), "the reference itself does not agree with the peer")
    return None


def _step_fault(seen: Steps) -> Fault | None:
    for step in seen.steps:
        if step.local.agrees:
            continue
        for weight, nodes in seen.damaged.items():
            if set(nodes) & set(step.nodes):
                what = f"weight {weight!r} of the artefact is not that of the model"
                return Fault("artefact", step.nodes, what)
        within, at = "", step
        if seen.inside is not None:
            within, at = seen.inside.place, seen.inside.wrong
        what = f"the kernel of {'+'.join(at.ops)} is wrong on the operands that it had"
        return Fault("kernel", at.nodes or step.nodes, what, within)
    return None


def _pass_fault(
    graph: Graph,
    seen: Steps,
    feed: Mapping[str, Array],
    own: Mapping[str, Array],
    options: Options,
) -> Fault | None:
    reduced = reduced_to(options)
    if all(model_difference(y, seen.outputs[name], reduced).agrees for name, y in own.items()):
        return None
    name = pass_at_fault(graph, seen.target, feed, own, options)
    return Fault("passes", (), f"pass {name} changes what the graph calculates")


def _rest_fault(seen: Steps, outputs: Mapping[str, Difference]) -> Fault | None:
    if all(d.agrees for d in outputs.values()):
        return None
    for step in seen.steps if seen.own else ():
        if step.total is not None and not step.total.agrees:
            return Fault("rounding", step.nodes, "each step is right, but differences add up")
    what = "the outputs differ, but no step that this version compiles does: compile again"
    return Fault("artefact", (), what)


def _narrowed(fault: Fault, made: Repro) -> Fault:
    """The fault after its nodes were compiled by themselves."""
    if made.reproduces:
        return fault if fault.within else replace(fault, nodes=made.nodes)
    if fault.stage == "kernel":
        what = f"{fault.what}; compiled afresh by themselves, the nodes are right"
        return replace(fault, stage="artefact", what=what)
    return fault


# --- preparation ----------------------------------------------------------------------------------


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BiremeError("BM6001", str(error.strerror), where=str(path)) from None


def _traced(
    model: Source,
    compiled: Model,
    symbols: Mapping[str, range | None],
    dims: Mapping[str, int | range],
    constants: Mapping[str, Array],
) -> Traced:
    """The model imported as it was for the artefact: with the sizes and ranges that it has."""
    traced = onnx.load_traced(model, dims=dims, constants=constants)
    known = traced.graph.symbols
    fixed: dict[str, int | range] = {
        name: sizes for name, sizes in symbols.items() if sizes is not None and name in known
    }
    given = {info.name: info for info in compiled.inputs}
    names = traced.graph.input_names
    if set(given) != set(names):
        raise BiremeError(
            "BM6003",
            f"the model's inputs are {', '.join(names)}; the artefact's {', '.join(given)}",
            hint="give the --constant options that the model was compiled with",
        )
    for name, value in zip(names, traced.graph.inputs, strict=True):
        for dim, size in zip(value.type.shape, given[name].shape, strict=False):
            if isinstance(size, int) and str(dim) in known:
                fixed[str(dim)] = size
    if not fixed:
        return traced
    return onnx.load_traced(model, dims={**dims, **fixed}, constants=constants)
