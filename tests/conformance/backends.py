"""Ways to run a case, and the one procedure that counts it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from bireme.frontend import onnx as frontend
from bireme.ir import Array, BiremeError, reference
from tests.conformance.cases import Case, difference
from tests.conformance.drawn import RUNS, drawn_by

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
# A model and its frozen inputs, made ready to run.
Prepare = Callable[[ModelProto, Mapping[str, Array]], Run]


def _reference(model: ModelProto, constants: Mapping[str, Array]) -> Run:
    graph = frontend.load(model, constants=constants)
    numbers = itertools.count()
    return lambda inputs: reference.run(graph, inputs, run_number=next(numbers))


def _exported(model: ModelProto, constants: Mapping[str, Array]) -> Run:
    """Through the exporter and back, which must change nothing."""
    graph = frontend.load(frontend.export(frontend.load(model, constants=constants)))
    return lambda inputs: reference.run(graph, inputs)


def _compiled(model: ModelProto, constants: Mapping[str, Array]) -> Run:
    import bireme
    from bireme.codegen.compiler import Options

    # In this process, which is expendable, and without a cache: the test is of the compiler.
    options = Options(cache=None, jobs=0)
    target = "x86:znver4" if has_avx512() else "x86"
    program = bireme.compile(model, target, constants=constants, threads=1, seed=0, options=options)
    return lambda inputs: program(dict(inputs))


def has_avx512() -> bool:
    """Whether this processor runs the best code level alone; one level is quicker to compile."""
    return "avx512vl" in Path("/proc/cpuinfo").read_text(encoding="utf-8")


def _onnxruntime(model: ModelProto, constants: Mapping[str, Array]) -> Run:
    """The peer, for comparison; it needs no frozen inputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its exceptions share no class of their own
        raise BiremeError("BM1003", str(error)) from None
    names = [o.name for o in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, {**inputs, **constants}), strict=True))


BACKENDS: dict[str, Prepare] = {
    "compiled": _compiled,
    "exported": _exported,
    "onnxruntime": _onnxruntime,
    "reference": _reference,
}


@dataclass(frozen=True)
class Result:
    """How a case went.

    `status` is `pass`, `frozen` (passes with its parameter inputs given as constants), `refused`
    (with a reason, before running), `wrong` (other numbers), `error` (an exception that no check
    announces), `crash` or `timeout` (the process died or hung).
    """

    name: str
    op: str
    status: str
    detail: str = ""


def run_case(case: Case, prepare: Prepare) -> Result:
    """Runs one case: first as it is, then with its parameter inputs frozen."""
    plain = _attempt(case, prepare, ())
    if plain.status == "pass" or not case.parameters:
        return plain
    frozen = _attempt(case, prepare, case.parameters)
    if frozen.status == "pass":
        return Result(case.name, case.op, "frozen", plain.detail)
    return frozen


def _attempt(case: Case, prepare: Prepare, names: tuple[str, ...]) -> Result:
    try:
        for index, (_, expected) in enumerate(case.data_sets):
            inputs = {k: v for k, v in case.inputs(index).items() if v is not None}
            constants = {k: np.asarray(v) for k, v in inputs.items() if k in names}
            try:
                run = prepare(case.model, constants)
            except BiremeError as error:
                return Result(case.name, case.op, "refused", _line(error))
            feed = {k: np.asarray(v) for k, v in inputs.items() if k not in constants}
            found = run(feed)
            fault = _compare(case, expected, found)
            drawn = drawn_by(case.name)
            if drawn and not fault:
                fault = drawn.check(inputs, [found, *(run(feed) for _ in range(RUNS - 1))])
            if fault:
                return Result(case.name, case.op, "wrong", fault)
    except BiremeError as error:
        return Result(case.name, case.op, "error", _line(error))
    except Exception as error:
        return Result(case.name, case.op, "error", f"{type(error).__name__}: {error}"[:400])
    return Result(case.name, case.op, "pass")


def _compare(case: Case, expected: list[Any], found: Mapping[str, Array]) -> str:
    names = [o.name for o in case.model.graph.output]
    for name, wanted in zip(names, expected, strict=True):
        fault = difference(
            wanted, found[name], case.rtol, case.atol, numbers=drawn_by(case.name) is None
        )
        if fault:
            return f"output {name!r}: {fault}"
    return ""


def _line(error: BiremeError) -> str:
    """The error's message in one line, without the hint."""
    detail = " ".join(error.detail.split())
    return f"{error.code} {detail}"[:400]
