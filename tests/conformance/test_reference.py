"""The node tests of ONNX through the importer and the reference, operator by operator."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache

import pytest

from tests.conformance.backends import BACKENDS, run_case
from tests.conformance.cases import PARAMETERS, Case, load_cases
from tests.conformance.reasons import REASONS, reason_for


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
        allowed = {"pass", "frozen", "refused"}
        if reason_for(case.name, "wrong"):
            allowed = {"wrong"}
        if result.status not in allowed:
            faults.append(f"{case.name}: {result.status}: {result.detail}")
        if result.status == "refused":
            assert result.detail.startswith("BM1"), result
    assert not faults, "\n".join(faults)


def test_parameters_name_operators() -> None:
    import onnx

    for op, places in PARAMETERS.items():
        schema = onnx.defs.get_schema(op)
        assert max(places) < len(schema.inputs), op


def test_reasons_are_of_tests_that_exist() -> None:
    names = [case.name for group in cases().values() for case in group]
    for reason in REASONS:
        assert any(fnmatchcase(name, reason.pattern) for name in names), reason.pattern
