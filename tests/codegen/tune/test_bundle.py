"""Bundles: written here, measured by a program without Python, taken in again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import pytest

from bireme.codegen.cache import KernelCache
from bireme.codegen.compiler import Options, compile_graph
from bireme.codegen.records import Database, read_database
from bireme.codegen.tune import bundle
from bireme.codegen.tune.bundle import PASSES, export
from bireme.codegen.tune.profile import Wish
from bireme.codegen.tune.results import read_results
from bireme.frontend.onnx import export as to_onnx
from bireme.ir import BiremeError
from tests.cli.support import call
from tests.codegen.tune.support import TARGET, Tampered, native, network

_FOLDER = TemporaryDirectory()
WISH = Wish(10.0, options=Options(cache=KernelCache(Path(_FOLDER.name)), jobs=0))
# Instead of a second of measuring.
HASTE = ("--seconds 1", "--seconds 0.02")


def unpacked(path: Path) -> Path:
    """The bundle's folder; its script hurries."""
    subprocess.run(["python3", "-m", "zipfile", "-e", path.name, "."], cwd=path.parent, check=True)
    script = path.parent / "bundle" / "run.sh"
    assert HASTE[0] in script.read_text()
    script.write_text(script.read_text().replace(*HASTE))
    (path.parent / "bundle" / "measure").chmod(0o755)
    return path.parent / "bundle"


def measured(folder: Path, *arguments: str) -> Path:
    """The results file that the script has written, with no variable of Python's around."""
    run = subprocess.run(
        ["sh", "run.sh", *(arguments or ("1",))],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return folder / "results.jsonl"


@pytest.fixture(scope="module")
def measured_bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("right")
    made = export(network(), TARGET, WISH, Database(), folder / "b.zip")
    return made, measured(unpacked(folder / "b.zip"))


def test_a_device_measures_every_candidate_and_finds_it_right(measured_bundle):
    made, results = measured_bundle
    found = read_results(results)
    assert made.failed == []
    assert found.candidates == made.candidates > 4
    assert found.rejected == ()
    assert found.unmeasured == 0
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    runs = [line for line in lines if "pass" in line]
    assert len(runs) == PASSES * made.artefacts
    assert {line["isa"] for line in runs} == {made.level}
    assert {line["threads"] for line in runs} == {1}
    assert all(not any(line["wrong"]) for line in runs)
    assert all(len(line["times"]) >= 5 and min(map(min, line["times"])) > 0 for line in runs)


def faster(results: Path, numbers: set[int]) -> str:
    """A results file in which those candidates of the first artefact take half of the time."""
    lines = []
    for text in results.read_text().splitlines():
        line = json.loads(text)
        if line.get("artefact") == "0001" and "times" in line:
            count = len(line["wrong"])
            row = [500 if n - 1 in numbers else 1000 for n in range(count)]
            line["times"] = [row] * 9
        lines.append(json.dumps(line))
    return "".join(f"{line}\n" for line in lines)


def test_what_was_faster_every_time_becomes_a_record_that_compiles(measured_bundle, tmp_path):
    _, results = measured_bundle
    (tmp_path / "results.jsonl").write_text(faster(results, {1}))
    database = tmp_path / "records.jsonl"
    called = call(
        "tune", "--import", str(tmp_path / "results.jsonl"), "-d", str(database), "--json"
    )
    assert called.exit_code == 0
    candidates = json.loads(results.read_text().splitlines()[1])["candidates"]
    record = next(r for r in read_database(database) if r.gain == 2)
    assert dict(record.parameters) == candidates[1]
    assert record.threads == 1
    options = Options(cache=None, jobs=0, records=Database([record]))
    _, report = compile_graph(network(), TARGET, options)
    assert report.records == 1


def test_what_was_faster_only_once_is_no_record(measured_bundle, tmp_path):
    _, results = measured_bundle
    lines = faster(results, {1}).splitlines()
    slow = [line for line in faster(results, set()).splitlines() if '"pass": 2' in line]
    kept = [line for line in lines if '"pass": 2' not in line]
    (tmp_path / "r").write_text("\n".join([*kept, *slow]))
    assert all(record.gain != 2 for record in read_results(tmp_path / "r").records)


@pytest.mark.parametrize(
    ("body", "outcome", "detail"),
    [
        ("return 0;", "wrong", "elements differ from the reference"),
        ("__builtin_trap();", "failed", "status"),
        ("return 1;", "failed", "BM5"),
    ],
    ids=["writes nothing", "crashes", "reports a fault"],
)  # fmt: skip
def test_candidates_at_fault_are_rejected(tmp_path, monkeypatch, body, outcome, detail):
    code = native(tmp_path, body)
    monkeypatch.setattr(bundle, "Workers", lambda *_: Tampered(code))
    wish = Wish(3.0, options=Options(cache=None, jobs=0))
    made = export(network(), TARGET, wish, Database(), tmp_path / "b.zip")
    assert made.artefacts == 1
    found = read_results(measured(unpacked(tmp_path / "b.zip")))
    assert found.records == ()
    assert len(found.rejected) == found.candidates
    assert {each.outcome for each in found.rejected} == {outcome}
    assert all(detail in each.detail for each in found.rejected)


def test_a_script_that_was_killed_goes_on(measured_bundle):
    """Whatever a kill left, also of a line, the same is measured in the end and nothing twice."""
    made, results = measured_bundle
    whole = results.read_text()
    begin = whole.index('"pass": 1') + 60  # within the first measurement
    for cut in (0, 9, begin, len(whole) - 5):
        results.write_text(whole[:cut])
        measured(results.parent)
        found = read_results(results)
        assert (found.unmeasured, found.candidates) == (0, made.candidates)
        names = [
            (line["artefact"], line["pass"])
            for line in map(json.loads, filter(complete, results.read_text().splitlines()))
            if "pass" in line
        ]
        assert len(names) == len(set(names)) == PASSES * made.artefacts


def complete(line: str) -> bool:
    return line.startswith("{") and line.endswith("}")


def test_equal_candidates_make_equal_bundles(measured_bundle, tmp_path):
    _, results = measured_bundle
    export(network(), TARGET, WISH, Database(), tmp_path / "b.zip")
    first = results.parent.parent / "b.zip"
    assert (tmp_path / "b.zip").read_bytes() == first.read_bytes()


def test_from_outside(tmp_path):
    (tmp_path / "net.onnx").write_bytes(to_onnx(network()).SerializeToString())
    out = tmp_path / "b.zip"
    called = call(
        "tune", str(tmp_path / "net.onnx"), "--export", str(out), "--minutes", "0.05",
        "--jobs", "0", "--cache-dir", _FOLDER.name, "-d", str(tmp_path / "r"), "--json",
    )  # fmt: skip
    assert called.exit_code == 0, called.output
    assert json.loads(called.stdout)["candidates"] > 0
    with ZipFile(out) as pack:
        names = {name.removeprefix("bundle/") for name in pack.namelist()}
    assert {"README.txt", "run.sh", "measure", "candidates.jsonl", "0001.bireme"} <= names
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "BM6008"),
        ("hello\n", "BM6008"),
        ('{"bundle": 99}\n', "BM6008"),
        ('{"bundle": 1, "level": "x"}\n{"artefact": "1", "pass": 1, "wrong": []}\n', "BM6008"),
        (None, "BM6001"),
    ],
)
def test_a_file_that_is_no_result(tmp_path, text, code):
    path = tmp_path / "results.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BiremeError) as caught:
        read_results(path)
    assert caught.value.code == code
