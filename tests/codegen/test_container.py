"""The compiler writes containers that the runtime reads."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from bireme.codegen.container import VERSION, pack, unpack
from bireme.ir import Array
from bireme.runtime import Model, Session
from tests.runtime import artefacts


# Weights of no whole chunk, of whole chunks only, and of chunks and a rest.
@pytest.mark.parametrize("elements", [7, 2 << 18, (3 << 18) + 1])
def test_what_is_packed_loads(elements: int) -> None:
    values: Array = np.arange(elements, dtype=np.float32)
    data = pack(*unpack(artefacts.constant(values)))
    assert struct.unpack_from("<I", data, 8) == (VERSION,)
    np.testing.assert_array_equal(Session(Model.load(data)).run({})["y"], values)
