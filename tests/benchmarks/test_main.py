"""Runs that are cut and go on."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks import __main__ as main
from benchmarks.measure import Result
from benchmarks.models import Feed


class Tiny:
    """A model of one operation."""

    def build(self) -> tuple[onnx.ModelProto, Feed]:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
        graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset), {"x": np.ones(2, np.float32)}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was converted and measured, in order; nothing really is."""
    log: list[str] = []

    def convert(engine: str, folder: Path) -> str:
        log.append(f"convert {engine} {folder.name}")
        return "no" if engine == "iree" else ""

    def measure(model: str, reasons: dict[str, str], *rest: object) -> list[Result]:
        log.append(f"measure {model} {rest[1]}")
        return [
            Result(model, engine, int(str(rest[1])), samples=[1.0], near=[True], reason=reason)
            for engine, reason in reasons.items()
        ]

    monkeypatch.setattr(main, "FOLDER", tmp_path)
    monkeypatch.setattr(main, "MODELS", {"a": Tiny(), "b": Tiny()})
    monkeypatch.setattr(main, "_convert", convert)
    monkeypatch.setattr(main, "measure", measure)
    monkeypatch.setattr(main, "prepare_engines", lambda engines: dict.fromkeys(engines, ""))
    monkeypatch.setattr(main, "machine_limits", lambda *_, **__: SimpleNamespace(gflops=100.0))
    monkeypatch.setattr(main, "reference_outputs", lambda folder: [])
    return log


def options(folder: Path, **changes: object) -> argparse.Namespace:
    chosen: dict[str, object] = {
        "models": [], "engines": ["bireme", "onnxruntime", "iree"], "threads": [1, 2],
        "rounds": 1, "seconds": 0.1, "cpu_time": False, "json": folder / "found" / "r.json",
        "note": "", "keep": False, "resume": True, "minutes": None,
    }  # fmt: skip
    return argparse.Namespace(**(chosen | changes))


def test_other_engines_convert_once(tmp_path: Path, calls: list[str]) -> None:
    first, _ = main.prepare("a", ["bireme", "iree"], {}, resume=True)
    again, _ = main.prepare("a", ["bireme", "iree", "onnxruntime"], {}, resume=True)
    assert first == {"bireme": "", "iree": "no"}
    assert again == {"bireme": "", "iree": "no", "onnxruntime": ""}
    wanted = ["bireme", "iree", "bireme", "onnxruntime"]
    assert calls == [f"convert {engine} a" for engine in wanted]
    calls.clear()
    main.prepare("a", ["iree"], {})  # from scratch
    assert calls == ["convert iree a"]


def test_a_cut_run_goes_on(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = main.measure

    def cut(model: str, *rest: object) -> list[Result]:
        if (model, rest[2]) == ("a", 2):
            raise KeyboardInterrupt
        return usual(model, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(main, "measure", cut)
    with pytest.raises(KeyboardInterrupt):
        main.run(options(tmp_path))
    monkeypatch.setattr(main, "measure", usual)
    calls.clear()
    report, complete = main.run(options(tmp_path))
    assert complete
    assert [c for c in calls if c[0] == "m"] == ["measure a 2", "measure b 1", "measure b 2"]
    assert "convert iree a" not in calls  # it was converted before the cut
    assert len(report.results) == 2 * 2 * 3
    calls.clear()
    assert main.run(options(tmp_path))[1]
    assert calls == []


def test_no_model_begins_after_the_time(tmp_path: Path, calls: list[str]) -> None:
    report, complete = main.run(options(tmp_path, minutes=1e-9))
    assert not complete
    assert report.results == []
    assert calls == []
