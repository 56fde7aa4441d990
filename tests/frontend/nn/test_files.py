"""State dicts in safetensors files."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bireme.frontend import nn
from bireme.ir import BiremeError


def make(seed: int) -> nn.Module:
    with nn.seed(seed):
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_round_trip(tmp_path: Path, dtype: str) -> None:
    first, second = make(0).astype(dtype), make(1).astype(dtype)
    nn.save_safetensors(first, tmp_path / "a.safetensors")
    nn.load_safetensors(second, tmp_path / "a.safetensors")
    for key, value in first.state_dict().items():
        found = second.state_dict()[key]
        assert found.dtype == value.dtype
        np.testing.assert_array_equal(found, value)


def test_a_prefix_is_taken_off(tmp_path: Path) -> None:
    state = {f"model.{k}": np.asarray(v + 1) for k, v in make(0).state_dict().items()}
    save_file({**state, "head.weight": np.zeros(2, np.float32)}, tmp_path / "a.safetensors")
    module = make(1)
    nn.load_safetensors(module, tmp_path / "a.safetensors", prefix="model.")
    np.testing.assert_array_equal(module.state_dict()["0.bias"], state["model.0.bias"])


def test_a_half_checkpoint_loads_into_a_float_model(tmp_path: Path) -> None:
    nn.save_safetensors(make(0).astype("bfloat16"), tmp_path / "a.safetensors")
    module = make(1)
    nn.load_safetensors(module, tmp_path / "a.safetensors")
    weight = module.state_dict()["0.weight"]
    assert weight.dtype == np.float32
    wanted = make(0).state_dict()["0.weight"].astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(weight, wanted.astype(np.float32))


def test_arrays_that_are_not_contiguous_are_saved_in_order(tmp_path: Path) -> None:
    module = nn.Linear(2, 3, bias=False)
    values = np.arange(6, dtype=np.float32).reshape(2, 3).T
    module.weight.data = values
    nn.save_safetensors(module, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(load_file(tmp_path / "a.safetensors")["weight"], values)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(BiremeError, match=r"BM6001 at .*none\.safetensors"):
        nn.load_safetensors(make(0), tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not json at all!")
    with pytest.raises(BiremeError, match=r"BM6001 at .*bad\.safetensors"):
        nn.load_safetensors(make(0), tmp_path / "bad.safetensors")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BiremeError, match=r"BM3006 at .*none/a\.safetensors"):
        nn.save_safetensors(make(0), tmp_path / "none" / "a.safetensors")
