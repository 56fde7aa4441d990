"""The Python face of the runtime: loading, running, and every error a user can cause."""

from __future__ import annotations

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from bireme.runtime import Model, RuntimeFault, Session, error_table, schema

sys.path.insert(0, str(Path(__file__).parent))
import artefacts


@pytest.fixture
def session() -> Session:
    return Session(Model.load(artefacts.doubling()))


def x_of(n: int) -> np.ndarray:
    return np.arange(n * 3, dtype=np.float32).reshape(n, 3)


def fault_of(call: object, *args: object, **kwargs: object) -> RuntimeFault:
    with pytest.raises(RuntimeFault) as info:
        call(*args, **kwargs)
    return info.value


def test_runs_from_bytes_and_from_file(tmp_path: Path) -> None:
    data = artefacts.doubling()
    path = tmp_path / "m.bireme"
    path.write_bytes(data)
    for source in (data, path, str(path)):
        result = Session(Model.load(source)).run({"x": x_of(5)})
        assert list(result) == ["y"]
        np.testing.assert_array_equal(result["y"], 2 * x_of(5))


def test_one_session_takes_many_sizes(session: Session) -> None:
    for n in (1, 7, 100, 2, 7):
        np.testing.assert_array_equal(session.run({"x": x_of(n)})["y"], 2 * x_of(n))


def test_describes_inputs_and_outputs() -> None:
    model = Model.load(artefacts.doubling())
    assert [(i.name, i.dtype, i.shape) for i in model.inputs] == [
        ("x", np.dtype(np.float32), ("n", 3))
    ]
    assert model.outputs[0].shape == ("n", 3)
    assert model.isa == "x86-64-v2"
    fixed = Model.load(artefacts.doubling(symbolic=False))
    assert fixed.inputs[0].shape == (4, 3)


@pytest.mark.parametrize(
    ("number", "dtype"),
    [
        (schema.DType.Bool, np.bool_),
        (schema.DType.I8, np.int8),
        (schema.DType.U8, np.uint8),
        (schema.DType.I16, np.int16),
        (schema.DType.U16, np.uint16),
        (schema.DType.I32, np.int32),
        (schema.DType.U32, np.uint32),
        (schema.DType.I64, np.int64),
        (schema.DType.U64, np.uint64),
        (schema.DType.F16, np.float16),
        (schema.DType.BF16, ml_dtypes.bfloat16),
        (schema.DType.F32, np.float32),
        (schema.DType.F64, np.float64),
    ],
)
def test_every_dtype_goes_in_and_out(number: int, dtype: type) -> None:
    x = np.array([0, 1, 2, 3, 100]).astype(dtype)
    model = Model.load(artefacts.identity(number, x.itemsize))
    y = Session(model).run({"x": x})["y"]
    assert y.dtype == x.dtype == model.inputs[0].dtype
    np.testing.assert_array_equal(y, x)


def test_weights_are_read() -> None:
    w = np.linspace(-1, 1, 30, dtype=np.float32).reshape(2, 3, 5)
    np.testing.assert_array_equal(Session(Model.load(artefacts.constant(w))).run({})["y"], w)


def test_input_that_is_not_contiguous(session: Session) -> None:
    x = x_of(8)[::2]
    np.testing.assert_array_equal(session.run({"x": x})["y"], 2 * x)


def test_read_only_input_and_dlpack(session: Session) -> None:
    class OnlyDLPack:
        def __init__(self, array: np.ndarray) -> None:
            self.array = array

        def __dlpack__(self, **kwargs: object) -> object:
            return self.array.__dlpack__(**kwargs)

        def __dlpack_device__(self) -> tuple[int, int]:
            return self.array.__dlpack_device__()

    x = x_of(3)
    np.testing.assert_array_equal(session.run({"x": OnlyDLPack(x)})["y"], 2 * x)
    x.flags.writeable = False
    np.testing.assert_array_equal(session.run({"x": x})["y"], 2 * x)


def test_dlpack_that_numpy_cannot_read(session: Session) -> None:
    class OnGpu:
        def __dlpack__(self, **kwargs: object) -> object:
            raise BufferError("the data is on a GPU")

        def __dlpack_device__(self) -> tuple[int, int]:
            return (2, 0)

    fault = fault_of(session.run, {"x": OnGpu()})
    assert fault.code == "BM5002"
    assert fault.message.startswith("input x: ")


def test_threads_with_their_own_sessions() -> None:
    model = Model.load(artefacts.doubling())

    def work(seed: int) -> None:
        session = Session(model)
        for n in range(1, 100):
            x = x_of(n) + seed
            np.testing.assert_array_equal(session.run({"x": x})["y"], 2 * x)

    with ThreadPoolExecutor(4) as pool:
        for result in [pool.submit(work, seed) for seed in range(8)]:
            result.result()


def test_one_session_in_two_threads_is_refused_or_right(session: Session) -> None:
    def work(n: int) -> int:
        refused = 0
        for _ in range(300):
            try:
                np.testing.assert_array_equal(session.run({"x": x_of(n)})["y"], 2 * x_of(n))
            except RuntimeFault as fault:
                assert fault.code == "BM5015"  # noqa: PT017
                refused += 1
        return refused

    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(work, n) for n in (1, 100)]
        # On a busy machine one of them may never find the session free.
        assert min(result.result() for result in results) < 300


def test_fault_can_be_pickled(session: Session) -> None:
    fault = fault_of(session.run, {})
    assert str(pickle.loads(pickle.dumps(fault))) == str(fault)


def test_outputs_outlive_session_and_model() -> None:
    y = Session(Model.load(artefacts.doubling())).run({"x": x_of(2)})["y"]
    np.testing.assert_array_equal(y, 2 * x_of(2))
    y += 1  # and belong to the caller


@pytest.mark.parametrize(
    ("inputs", "code", "words"),
    [
        ({}, "BM5003", ["x"]),
        ({"x": x_of(2), "z": x_of(2)}, "BM5004", ["z"]),
        ({"x": x_of(2).astype(np.float64)}, "BM5005", ["input x", "float64", "float32"]),
        ({"x": x_of(2).astype(">f4")}, "BM5005", ["input x"]),
        ({"x": np.array(["a"])}, "BM5005", ["input x"]),
        ({"x": np.zeros(3, np.float32)}, "BM5006", ["input x", "1 dimensions", "has 2"]),
        ({"x": np.zeros((2, 4), np.float32)}, "BM5007", ["input x", "dimension 1 is 4", "has 3"]),
        ({"x": np.zeros((101, 3), np.float32)}, "BM5008", ["dimension 0 (n) is 101", "most 100"]),
        ({"x": np.zeros((0, 3), np.float32)}, "BM5008", ["dimension 0 (n) is 0", "least 1"]),
        ({"x": [1.0]}, "BM5002", ["input x", "list"]),
    ],
)
def test_wrong_inputs(session: Session, inputs: dict, code: str, words: list[str]) -> None:
    fault = fault_of(session.run, inputs)
    assert fault.code == code
    assert fault.hint
    for word in words:
        assert word in fault.message
    np.testing.assert_array_equal(session.run({"x": x_of(2)})["y"], 2 * x_of(2))  # still usable


def test_fault_of_a_kernel_names_op_and_node() -> None:
    session = Session(Model.load(artefacts.doubling(code=artefacts.FAULT_INDEX)))
    fault = fault_of(session.run, {"x": x_of(2)})
    assert (fault.code, fault.op, fault.node) == ("BM5016", "add", "Add_7")
    assert "Add_7" in str(fault)


def test_load_errors(tmp_path: Path) -> None:
    data = artefacts.doubling()
    assert fault_of(Model.load, tmp_path / "none").code == "BM4001"
    assert fault_of(Model.load, tmp_path).code == "BM4001"
    empty = tmp_path / "empty"
    empty.touch()
    assert fault_of(Model.load, empty).code == "BM4002"
    assert fault_of(Model.load, b"PK\x03\x04" + data).code == "BM4002"
    assert fault_of(Model.load, data[:-1]).code == "BM4004"
    assert fault_of(Model.load, data[:60]).code == "BM4004"
    assert fault_of(Model.load, data[:50] + b"\1" + data[51:]).code == "BM4005"
    assert fault_of(Model.load, data[:200] + bytes([data[200] ^ 1]) + data[201:]).code == "BM4006"
    assert fault_of(Model.load, data, max_isa="x86-64-v9").code == "BM4013"
    assert fault_of(Model.load, data, threads=0).code == "BM5002"


def test_code_for_another_cpu() -> None:
    b = artefacts.PlanBuilder()
    b.kernel("k", artefacts.FAULT_INDEX)
    fault = fault_of(Model.load, b.finish(isa="x86-64-v3"), max_isa="x86-64-v2")
    assert fault.code == "BM4010"
    b = artefacts.PlanBuilder()
    b.plan.target = "arm"
    assert fault_of(Model.load, b.finish()).code == "BM4009"


def test_weights_check_can_be_left_out() -> None:
    data = bytearray(artefacts.constant(np.ones((2,), np.float32)))
    data[-1] ^= 1
    assert fault_of(Model.load, bytes(data)).code == "BM4006"
    Model.load(bytes(data), verify_weights=False)


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_damage_is_found_in_every_chunk(threads: int | None) -> None:
    data = artefacts.constant(np.ones((3 << 18) + 5, np.float32))  # three chunks and a rest
    Model.load(data, threads=threads)
    for at in range(len(data) - 1, 4096, -(1 << 20)):
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        fault = fault_of(Model.load, damaged, threads=threads)
        assert (fault.code, "weights" in fault.message) == ("BM4006", True)


def test_profile_and_memory() -> None:
    session = Session(Model.load(artefacts.doubling()), threads=1, profile=True)
    for _ in range(3):
        session.run({"x": x_of(100)})
    rows = session.profile()
    assert [(r.op, r.node, r.kernel, r.kind, r.calls) for r in rows] == [
        ("add", "Add_7", "double", "elementwise", 3),
        ("add", "Add_7", "", "copy", 3),
    ]
    assert session.memory.arena_bytes == 100 * 3 * 4
    assert session.peak_bytes > session.memory.arena_bytes
    assert Session(session.model).profile() == []


def test_error_table_is_complete() -> None:
    rows = error_table()
    codes = [row[0] for row in rows]
    assert codes == sorted(set(codes))
    assert all(name and meaning and hint for _, name, meaning, hint in rows)


def test_a_session_has_a_seed() -> None:
    model = Model.load(artefacts.doubling())
    assert Session(model).seed != Session(model).seed  # from the operating system
    session = Session(model, seed=7)
    assert session.seed == 7
    session.seed = (1 << 64) - 1
    assert session.seed == (1 << 64) - 1
    for seed in (-1, 1 << 64):
        assert fault_of(Session, model, seed=seed).code == "BM5002"
