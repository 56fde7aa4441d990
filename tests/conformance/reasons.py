"""Why a node test does not pass: data for docs/conformance.md, and what the tests expect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Reason:
    """Why the tests whose names match `pattern` (`*`, `?`) end with `status`."""

    pattern: str
    status: str
    text: str


_BF16 = (
    "The expected numbers come from NumPy, whose bfloat16 softmax rounds after every addition of "
    "its sum. Bireme sums in float32 and rounds each result once, which ONNX allows and which is "
    "closer to the exact result (test_attention_4d_causal_bf16: mean error 6.6e-4 against 8.9e-4). "
    "They differ by one rounding step, more than the tests' 0.1 %."
)

REASONS: tuple[Reason, ...] = (
    Reason("test_attention_*_bf16*", "wrong", _BF16),
    Reason(
        "test_attention_4d_causal_fp16*",
        "wrong",
        "As for bfloat16: one rounding step of float16 in 2 of 192 elements, where the softmax's "
        "intermediate results are rounded or not.",
    ),
    Reason(
        "test_dft_inverse*",
        "wrong",
        "The expected float32 values hold rounding errors of NumPy's FFT: 1.9e-7 where the exact "
        "result is 0, which Bireme gives. The tests compare with an absolute bound of 1e-7.",
    ),
    Reason(
        "test_image_decoder_*",
        "refused",
        "Image codecs (JPEG, PNG and others) are outside the runtime, which is small and depends "
        "on nothing: decode before the model.",
    ),
)


def reason_for(name: str, status: str) -> str:
    """The recorded reason why a test ends as it does; empty when there is none."""
    found = (r.text for r in REASONS if r.status == status and fnmatchcase(name, r.pattern))
    return next(found, "")


def stale(failed: Iterable[tuple[str, str]]) -> list[Reason]:
    """Reasons that no failed test, given as (name, status), needs."""
    known = list(failed)
    return [
        r
        for r in REASONS
        if not any(status == r.status and fnmatchcase(name, r.pattern) for name, status in known)
    ]
