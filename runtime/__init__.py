"""Load compiled models and run them: the Python face of the C runtime.

    model = Model.load("model.bireme")
    session = Session(model)
    outputs = session.run({"x": x})

Arrays go in without being copied if they are C-contiguous NumPy arrays or CPU DLPack objects.
Every error is a :class:`RuntimeFault` with a stable code. This package imports nothing else of
Bireme.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from bireme.runtime import _native
from bireme.runtime.fault import RuntimeFault

__all__ = [
    "Memory",
    "Model",
    "ProfileEntry",
    "RuntimeFault",
    "Session",
    "TensorInfo",
    "TraceEvent",
    "error_table",
    "measuring_program",
    "pool_threads",
]

# In the order of `DType` in the schema.
_DTYPES: tuple[np.dtype[Any], ...] = tuple(
    np.dtype(t)
    for t in (
        np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64,
        np.float16, ml_dtypes.bfloat16, np.float32, np.float64,
        ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2,
        ml_dtypes.float8_e5m2fnuz, ml_dtypes.float8_e8m0fnu, ml_dtypes.float4_e2m1fn,
        ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2,
    )
)  # fmt: skip
_NUMBER_OF_DTYPE = {dtype: number for number, dtype in enumerate(_DTYPES)}
# Types without a buffer-protocol format, or that the binding hands out as raw bits.
_RAW_BITS = {
    np.dtype(np.float16): np.uint16,
    np.dtype(ml_dtypes.bfloat16): np.uint16,
    **dict.fromkeys(_DTYPES[13:], np.uint8),
}

_HINTS = {name: (code, hint) for code, name, _, hint in _native.error_table()}


def _fault(name: str, message: str) -> RuntimeFault:
    code, hint = _HINTS[name]
    return RuntimeFault(code, "", "", message, hint)


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a model.

    Attributes:
        name: the model's own name of the value.
        dtype: element type; what NumPy lacks is a type of ``ml_dtypes``.
        shape: for each dimension its size, the name of its symbol, or None where it is computed
            from the inputs.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True)
class Memory:
    """Memory that a session holds, in bytes; weights are mapped and not part of it.

    Attributes:
        arena_bytes: intermediate tensors.
        workspace_bytes: scratch memory of all threads.
        output_bytes: for outputs that the caller leaves to the session; a run from Python returns
            new arrays and does not touch it.
        peak_bytes: most that the session has held, with its bookkeeping.
    """

    arena_bytes: int
    workspace_bytes: int
    output_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class ProfileEntry:
    """Time of one instruction, summed over all runs of a session.

    Attributes:
        op: operations it does, ``"conv+relu"``.
        node: their names in the user's model.
        kernel: name of the kernel, or ``""`` if the instruction launches none.
        kind: kind of the kernel, or ``"copy"``, ``"jump"``, ``"loop"``.
        calls: how often it ran.
        nanoseconds: in all, as the calling thread sees it.
        operations: arithmetic operations in all, a multiply-add is two; -1: the artefact does not
            say.
        bytes: read and written in all, each tensor once; -1: the artefact does not say.
        tasks: independent units of work of the last call.
    """

    op: str
    node: str
    kernel: str
    kind: str
    calls: int
    nanoseconds: int
    operations: int
    bytes: int
    tasks: int


@dataclass(frozen=True)
class TraceEvent:
    """What one thread did of an instruction.

    Attributes:
        instruction: its index in the plan, as in :meth:`Session.profile`.
        worker: 0 for the thread that called `run`, else a thread of the pool.
        begin, end: nanoseconds of the monotonic clock.
    """

    instruction: int
    worker: int
    begin: int
    end: int


class Model:
    """A loaded artefact. Immutable; any number of sessions and threads may use it."""

    def __init__(self, native: _native.Model) -> None:
        self._native = native
        self.inputs = _tensor_infos("input", native.inputs())
        self.outputs = _tensor_infos("output", native.outputs())
        # Sizes that the symbols of the inputs may have, both included; None: no bound is known.
        self.symbols: dict[str, tuple[int, int | None]] = {
            symbol: (least, most if most >= 0 else None)
            for _, _, dims in native.inputs()
            for _, symbol, least, most in dims
            if symbol
        }
        description = native.describe()
        self.name = description["name"]
        self.producer = description["producer"]
        self.isa = description["isa"]
        self.weight_bytes = description["weight_bytes"]
        self.code_bytes = description["code_bytes"]
        self.arena_hint_bytes = description["arena_hint_bytes"]
        self.arena_lower_bound_bytes = description["arena_lower_bound_bytes"]

    @staticmethod
    def load(
        source: str | os.PathLike[str] | bytes,
        *,
        max_isa: str | None = None,
        verify_weights: bool = True,
        threads: int | None = None,
    ) -> Model:
        """Map, check and link the artefact at a path, or one held in bytes.

        Args:
            source: path of a ``.bireme`` file, or its contents.
            max_isa: best instruction set to use, such as ``"x86-64-v3"``; None: the CPU's.
            verify_weights: False leaves the checksum of the weights out, for a faster start.
            threads: most threads that look for damage, the caller's included; None: all of the
                pool.

        Raises:
            RuntimeFault: BM4xxx, the file is missing, damaged, hostile, or for another machine.
        """
        if not isinstance(source, bytes):
            source = os.fspath(Path(source))
        return Model(_native.Model(source, max_isa, verify_weights, _threads(threads)))


class Session:
    """Memory and threads of one user of a model. One thread at a time may use it.

    Args:
        model: what to run.
        threads: most threads a run uses, the caller's included; None: all of the pool.
        profile: measure every instruction, for :meth:`profile`.
        seed: see :attr:`seed`; None: one from the operating system.
        cpu_time: measure the processor time of the thread that calls `run`, not what passes.
        trace: with ``profile``, keep this many events of each run, for :meth:`trace`.

    Raises:
        RuntimeFault: BM5001, there is not enough memory.
    """

    def __init__(
        self,
        model: Model,
        threads: int | None = None,
        profile: bool = False,
        seed: int | None = None,
        trace: int = 0,
        cpu_time: bool = False,
    ) -> None:
        self.model = model
        self._native = _native.Session(
            model._native, _threads(threads), (2 if cpu_time else 1) if profile else 0, trace
        )
        self._input_names = [info.name for info in model.inputs]
        if seed is not None:
            self.seed = seed

    @property
    def seed(self) -> int:
        """What random numbers depend on, besides the number of runs since it was set: in every run
        they are new, and after the same seed the same again. In [0, 2**64).
        """
        return self._native.seed()

    @seed.setter
    def seed(self, seed: int) -> None:
        if not 0 <= seed < 1 << 64:
            raise _fault("bad_argument", f"the seed is {seed}, it must be in [0, 2**64)")
        self._native.set_seed(seed)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Run the model once.

        Args:
            inputs: for each input of the model an array of its dtype: a NumPy array, or any CPU
                object with ``__dlpack__``. Arrays that are not C-contiguous are copied.

        Returns:
            New arrays by name of output, in the model's order.

        Raises:
            RuntimeFault: BM5xxx; the message names the input and dimension, or the operation.
        """
        self._check_names(inputs)
        arrays, numbers = [], []
        for info in self.model.inputs:
            array = _as_array(info.name, inputs[info.name])
            number = _NUMBER_OF_DTYPE.get(array.dtype)
            if number is None or array.dtype != info.dtype:
                raise _fault(
                    "wrong_dtype",
                    f"input {info.name} is {array.dtype.name}, the model has {info.dtype.name}",
                )
            numbers.append(number)
            arrays.append(array.view(_RAW_BITS[array.dtype]) if array.dtype in _RAW_BITS else array)
        results = self._native.run(arrays, numbers)
        return {
            info.name: result.view(info.dtype) if info.dtype in _RAW_BITS else result
            for info, result in zip(self.model.outputs, results, strict=True)
        }

    def _check_names(self, inputs: Mapping[str, Any]) -> None:
        missing = [name for name in self._input_names if name not in inputs]
        if missing:
            raise _fault("missing_input", f"missing: {', '.join(missing)}")
        unexpected = ", ".join(str(name) for name in inputs if name not in self._input_names)
        if unexpected:
            known = ", ".join(self._input_names)
            raise _fault("unexpected_input", f"unexpected: {unexpected}; the model has {known}")

    @property
    def memory(self) -> Memory:
        """What the session holds now."""
        return Memory(**self._native.memory())

    @property
    def peak_bytes(self) -> int:
        """Most memory the session has held, without weights."""
        return self.memory.peak_bytes

    def profile(self) -> list[ProfileEntry]:
        """Time of every instruction so far, in the order of the plan; empty without ``profile``."""
        return [ProfileEntry(*row) for row in self._native.profile()]

    def trace(self) -> tuple[list[TraceEvent], int]:
        """Events of the last run in order of their end, and how many found no room."""
        events, missed = self._native.trace()
        return [TraceEvent(*event) for event in events], missed


def error_table() -> list[tuple[str, str, str, str]]:
    """Rows (code, name, meaning, hint) of every error the runtime can report."""
    return _native.error_table()


def measuring_program() -> Path:
    """The program that measures candidates where there is no Python (runtime/measure.cc)."""
    return Path(_native.__file__).with_name("bireme_measure")


def pool_threads() -> int:
    """Threads of the process-wide pool, the calling one included."""
    return _native.pool_threads()


def _threads(threads: int | None) -> int:
    """As the C interface has it: 0 is all of the pool."""
    if threads is not None and threads < 1:
        raise _fault("bad_argument", f"threads is {threads}, it must be at least 1 or None")
    return threads or 0


def _tensor_infos(
    kind: str, rows: list[tuple[str, int, list[_native.Dim]]]
) -> tuple[TensorInfo, ...]:
    return tuple(
        TensorInfo(
            name or f"{kind}{position}",
            _DTYPES[number],
            tuple(symbol or (size if size >= 0 else None) for size, symbol, *_ in dims),
        )
        for position, (name, number, dims) in enumerate(rows)
    )


def _as_array(name: str, value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray):
        if not hasattr(value, "__dlpack__"):
            raise _fault(
                "bad_argument",
                f"input {name} is a {type(value).__name__}, not a NumPy array or DLPack object",
            )
        try:
            value = np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:  # a GPU's memory, ...
            raise _fault("bad_argument", f"input {name}: {error}") from error
    return np.require(value, requirements=("C", "A"))
