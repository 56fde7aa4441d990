"""Tables, JSON, page and chart say what was measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.measure import Result
from benchmarks.page import CHART, PAGE, RESULTS, chart, text, write_page
from benchmarks.report import Mismatch, Report, geometric_mean, rows, shown, summary


@pytest.fixture
def report() -> Report:
    def result(model: str, engine: str, time: float, threads: int = 1) -> Result:
        times = [time, time * 2, time]
        return Result(model, engine, threads, samples=times, near=[True] * 3, first_result=5.0)

    return Report(
        date="2026-01-02",
        cpu="a <cpu>",
        cores=2,
        peak=100.0,
        cpu_time=False,
        note="a noisy day",
        versions={"bireme": "bireme 1", "onnxruntime": "onnxruntime 2", "openvino": "openvino 3"},
        multiply_adds={"net": 500_000_000, "rnn": 1_000_000},
        results=[
            result("net", "bireme", 12.5),
            result("net", "onnxruntime", 25.0),
            result("net", "openvino", 20.0),
            result("net", "openvino_bf16", 8.0),
            result("rnn", "bireme", 0.4),
            result("rnn", "onnxruntime", 0.2),
            Result("rnn", "openvino", 1, reason="Error: `GRU` is missing\nand more"),
        ],
    )


def test_resumes_what_was_measured_before(report: Report) -> None:
    rest = dataclasses.replace(report, peak=90.0, note="", results=[])
    rest.versions, rest.multiply_adds = {}, {}
    rest.put([Result("net", "bireme", 1, samples=[5.0], near=[True])])
    assert rest.lacks("net", ["bireme", "openvino"], 1)
    assert not rest.lacks("net", ["bireme"], 1)
    again = dataclasses.replace(rest, results=[])
    again.resume(report)
    assert (again.peak, again.note, again.models) == (100.0, "a noisy day", ["net", "rnn"])
    assert (again.versions, again.multiply_adds) == (report.versions, report.multiply_adds)
    assert not again.lacks("net", ["bireme", "openvino"], 1)
    assert again.lacks("net", ["bireme"], 2)
    again.put(rest.results)  # in the place of the earlier one
    assert again.milliseconds("net", "bireme", 1) == 5.0
    assert len(again.results) == len(report.results)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cpu": "another"}, "processor: a <cpu> before, another now"),
        ({"cpu_time": True}, "processor time: False before"),
        ({"versions": {"openvino": "openvino 4"}}, "OpenVINO: openvino 3 before, openvino 4 now"),
    ],
)
def test_refuses_to_mix_what_differs(report: Report, change: dict[str, Any], words: str) -> None:
    with pytest.raises(Mismatch, match=words):
        dataclasses.replace(report, results=[], **change).resume(report)


def test_table(report: Report) -> None:
    heads, lines = rows(report, 1, "float32")
    assert heads == ["model", "Bireme", "ONNX Runtime", "OpenVINO", "ratio", "of the limit"]
    assert lines == [
        ["net", "12.5", "25.0", "20.0", "1.60", "80%"],
        ["rnn", "0.400", "0.200", "–", "0.500", "5%"],
    ]
    heads, lines = rows(report, 1, "bfloat16")
    assert (heads, lines[0]) == (["model", "OpenVINO bfloat16"], ["net", "8.00"])


def test_summary_names_where_we_are_behind(report: Report) -> None:
    line = "1 threads: geometric mean 0.89 over 2 models; behind on rnn 0.50"
    assert summary(report, 1) == line


def test_lower_precision_is_no_float32_peer(report: Report) -> None:
    assert report.best_peer("net", 1, "float32") == ("openvino", 20.0)
    assert report.best_peer("net", 1, "bfloat16") == ("openvino_bf16", 8.0)


def test_tuned_bireme_is_no_peer(report: Report) -> None:
    tuned = Result("net", "bireme_tuned", 1, samples=[11.0], near=[True])
    report.results.append(tuned)
    assert report.best_peer("net", 1, "float32") == ("openvino", 20.0)
    assert rows(report, 1, "float32")[1][0] == [
        "net",
        "12.5",
        "11.0",
        "25.0",
        "20.0",
        "1.60",
        "80%",
    ]


def test_json_round_trip(report: Report, tmp_path: Path) -> None:
    report.save(tmp_path / "results.json")
    assert Report.load(tmp_path / "results.json") == report


def test_page(report: Report, tmp_path: Path) -> None:
    write_page(report, tmp_path)
    page = (tmp_path / PAGE).read_text()
    assert page == text(report)
    for part in ("2026-01-02", "| note | a noisy day |", "onnxruntime 2",
                 "| rnn | 0.400 | 0.200 | – | 0.500 | 5% |",
                 "* OpenVINO on rnn: `Error: 'GRU' is missing`", CHART, RESULTS):  # fmt: skip
        assert part in page
    assert Report.load(tmp_path / RESULTS) == report


def test_chart_shows_each_ratio_once(report: Report) -> None:
    root = ElementTree.fromstring(chart(report))
    titles = [e.text for e in root.iter() if e.tag.endswith("title")]
    assert titles == ["ONNX Runtime: 2.00", "OpenVINO: 1.60", "ONNX Runtime: 0.50"]


def test_starred_where_cores_were_far(report: Report) -> None:
    report.results[0].near = [False] * 3
    assert rows(report, 1, "float32")[1][0][1] == "12.5*"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "–"), (123.4, "123"), (9.876, "9.88"), (0.01234, "0.0123"), (0.0, "0")],
)
def test_three_digits(value: float | None, expected: str) -> None:
    assert shown(value) == expected


def test_geometric_mean() -> None:
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
    assert geometric_mean([]) != geometric_mean([])
