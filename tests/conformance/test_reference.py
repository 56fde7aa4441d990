"""The node tests of ONNX through the importer and the reference, operator by operator."""

from __future__ import annotations

from functools import cache

import pytest

from tests.conformance.backends import BACKENDS, run_case
from tests.conformance.cases import PARAMETERS, Case, load_cases

# bfloat16 and float16 results computed in float32 and rounded once; ONNX expects each step rounded,
# closer than one step of the type. The inverse DFT has zeros that ONNX gets from a float64 FFT.
ROUNDING = {
    *(
        f"test_attention_{name}{form}"
        for name in ("3d_causal_bf16", "4d_attn_mask_causal_bf16", "4d_causal_bf16",
                     "4d_causal_fp16", "4d_causal_padded_kv_bf16", "4d_padded_kv_bf16")
        for form in ("", "_expanded")
    ),
    "test_dft_inverse",
    "test_dft_inverse_opset19",
}  # fmt: skip


@cache
def cases() -> dict[str, list[Case]]:
    groups: dict[str, list[Case]] = {}
    for case in load_cases()[0]:
        groups.setdefault(case.op, []).append(case)
    return groups


@pytest.mark.parametrize("op", sorted(cases()))
def test_operator(op: str) -> None:
    """Every test of the operator passes, or is refused with a reason before it runs."""
    faults = []
    for case in cases()[op]:
        result = run_case(case, BACKENDS["reference"])
        expected = "wrong" if case.name in ROUNDING else "pass"
        if result.status not in (expected, "frozen", "refused"):
            faults.append(f"{case.name}: {result.status}: {result.detail}")
        if result.status == "refused":
            assert result.detail.startswith("BM1"), result
    assert not faults, "\n".join(faults)


def test_parameters_name_operators() -> None:
    import onnx

    for op, places in PARAMETERS.items():
        schema = onnx.defs.get_schema(op)
        assert max(places) < len(schema.inputs), op
