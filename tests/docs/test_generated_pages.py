"""The generated pages of docs/ are what the tables in the code say."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from bireme.codegen.lower import _Lowering
from bireme.ir import OPS, Graph
from tools import coverage, generate_docs


@pytest.mark.parametrize("name", generate_docs.PAGES)
def test_page_is_current(name: str) -> None:
    committed = (generate_docs.ROOT / "docs" / name).read_text()
    assert committed == generate_docs.PAGES[name](), f"docs/{name} is not current: run make docs"


def test_every_line_of_the_runtime_table_is_read() -> None:
    text = (generate_docs.ROOT / "runtime" / "errors.def").read_text()
    lines = [line for line in text.splitlines() if line.startswith("BIREME_ERROR(")]
    codes = {f"BM{re.findall(r'[0-9]+', line)[0]}" for line in lines}
    assert len(codes) == len(lines)
    assert codes <= {code for code, _, _ in generate_docs.error_rows()}


def test_error_codes_are_unique_and_explained() -> None:
    rows = generate_docs.error_rows()
    assert [c for c, n in Counter(code for code, _, _ in rows).items() if n > 1] == []
    assert all(re.fullmatch(r"BM[1-6]\d{3}", code) and what and hint for code, what, hint in rows)


def test_every_op_has_a_section_with_prose() -> None:
    sections = re.split(r"^### `(\w+)`$", generate_docs.ops_page(), flags=re.MULTILINE)
    titles, bodies = sections[1::2], sections[2::2]
    assert sorted(titles) == sorted(OPS)
    assert [t for t, body in zip(titles, bodies, strict=True) if len(body.split()) < 5] == []


def test_the_steps_of_the_plan_are_those_that_the_lowering_knows() -> None:
    assert _Lowering(Graph())._lower.keys() == coverage.PLANNED


def test_coverage_has_a_row_for_every_op_and_tells_the_cases_apart() -> None:
    assert len(list(coverage.op_rows())) == len(OPS)
    assert coverage.how("add") == "kernel"
    assert coverage.how("while") == "plan"
    assert coverage.how("no_such_op") == coverage.NONE
    assert coverage.first_opset("Add") == 7
    assert coverage.first_opset("Gelu") == 20
    assert coverage.first_opset("SoftmaxCrossEntropyLoss") == 12  # by ONNX's body
    assert coverage.first_opset("ImageDecoder") is None
    assert coverage.how("lstm") == "kernel"
    assert coverage.first_opset("NoSuchOperator") is None
