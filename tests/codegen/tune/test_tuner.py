"""Whole runs of the tuner: what they write, how they end, how they go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from bireme.codegen.cache import KernelCache
from bireme.codegen.compiler import Options, compile_graph
from bireme.codegen.records import Database, Record, read_database
from bireme.codegen.tune import tuner
from bireme.codegen.tune.batch import _MOST_CANDIDATES as MOST
from bireme.codegen.tune.journal import Dropped
from bireme.codegen.tune.measure import Measured, measure
from bireme.codegen.tune.noise import Ratio
from bireme.codegen.tune.profile import Wish, profile
from bireme.codegen.tune.runner import local_runner
from bireme.codegen.tune.search import full, propose
from bireme.codegen.tune.tuner import tune
from bireme.codegen.tune.verify import Verified, verify
from bireme.frontend.onnx import export
from bireme.ir import BiremeError
from bireme.ir.reference import run
from bireme.runtime import Model, Session
from bireme.targets.registry import find
from tests.codegen.tune.support import TARGET, network

RUNNER = local_runner(1)
_FOLDER = TemporaryDirectory()
WISH = Wish(600.0, seed=7, options=Options(cache=KernelCache(Path(_FOLDER.name)), jobs=0))


class Paced:
    """A device on which every candidate takes half of the default's time, and a whole model with
    records `model_gain` of that without. The time that passes plays no part.
    """

    threads, cpu = 1, "paced"

    def __init__(self, model_gain: float = 0.9, wrong: int = 0) -> None:
        self.model_gain, self.wrong, self.asked = model_gain, wrong, 0

    def measure(self, artefacts, request, expected):  # noqa: ARG002
        self.asked += 1
        with TemporaryDirectory() as folder:
            paths = [Path(folder, str(number)) for number in range(len(artefacts))]
            for path, data in zip(paths, artefacts, strict=True):
                path.write_bytes(data)
            names = tuple(map(str, paths))
            real = measure(replace(request, paths=names, cores=(0,), seconds=0.0, least=4, most=4))
        times = [np.full_like(t, 1000) for t in real.times]
        if len(artefacts) == 2:
            times[1] = (times[0] * self.model_gain).astype(np.int64)
            return Measured(tuple(times), real.ops, (self.wrong,) * len(real.wrong), real.isa)
        for column, op in enumerate(real.ops[0]):
            if op.startswith("variant ") and op not in ("variant 0", f"variant {self._last(real)}"):
                times[0][:, column] = 500
        return Measured(tuple(times), real.ops, real.wrong, real.isa)

    @staticmethod
    def _last(real: Measured) -> int:
        return max(int(op.split()[1]) for op in real.ops[0] if op.startswith("variant "))


def after(batches: int):
    """Stops a search after so many batches."""
    polls = iter([False] * batches)
    return lambda: next(polls, True)


def test_what_is_found_is_written_and_compiles_to_equal_results(tmp_path):
    database = tmp_path / "records.jsonl"
    seen = []
    outcome = tune(network(), TARGET, WISH, database, Paced(), watch=seen.append, stopped=after(3))
    assert len(outcome.verified.kept) > 0
    assert outcome.verified.time.value == pytest.approx(0.9)
    assert read_database(database).text == Database(outcome.verified.kept).text
    assert not (tmp_path / "records.jsonl.journal").exists()
    assert {trial.outcome for trial in outcome.trials} == {"ok"}
    assert seen[-1].best < seen[-1].untuned
    assert seen[-1].trials == len(outcome.trials)
    options = Options(cache=None, jobs=0, records=read_database(database))
    data, report = compile_graph(network(), TARGET, options)
    assert report.records == len(outcome.verified.kept)
    x = np.random.default_rng(0).standard_normal((60, 64)).astype(np.float32)
    (found,) = Session(Model.load(data)).run({"x": x}).values()
    (expected,) = run(network(), {"x": x}).values()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_same_seed_tries_the_same(tmp_path):
    def tried(name, seed):
        wish = replace(WISH, seed=seed)
        outcome = tune(network(), TARGET, wish, tmp_path / name, Paced(), stopped=after(3))
        return [(t.kernel, t.parameters) for t in outcome.trials]

    assert tried("a", 1) == tried("b", 1) != tried("c", 2)


def test_once_stopped_it_keeps_what_it_has(tmp_path):
    outcome = tune(network(), TARGET, WISH, tmp_path / "r", Paced(), stopped=after(2))
    assert 2 < len(outcome.trials) <= 2 * MOST
    assert len(read_database(tmp_path / "r")) == len(outcome.verified.kept) > 0


def test_a_run_that_ended_early_goes_on(tmp_path, monkeypatch):
    database = tmp_path / "r"

    def interrupted(*arguments):
        raise KeyboardInterrupt  # what comes after the search

    monkeypatch.setattr(tuner, "verify", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune(network(), TARGET, WISH, database, Paced(), stopped=after(2))
    monkeypatch.undo()
    assert len(read_database(database)) == 0
    outcome = tune(network(), TARGET, WISH, database, Paced(), stopped=after(0))
    assert outcome.resumed == 2
    assert len(outcome.verified.kept) > 0
    again = tune(network(), TARGET, WISH, database, Paced(), stopped=after(0))
    assert again.resumed == 0


@pytest.mark.parametrize("paced", [Paced(model_gain=1.1), Paced(wrong=1)], ids=["slower", "wrong"])
def test_nothing_is_kept_that_does_the_model_no_good(tmp_path, paced):
    outcome = tune(network(), TARGET, WISH, tmp_path / "r", paced, stopped=after(2))
    assert outcome.verified.kept == ()
    assert len(outcome.verified.dropped) > 0
    assert outcome.verified.differs == bool(paced.wrong)
    assert len(read_database(tmp_path / "r")) == 0


def test_what_was_dropped_before_a_kill_stays_dropped(tmp_path, monkeypatch):
    """A run that is killed while it measures the whole model does not measure all of it again."""
    database, real, told = tmp_path / "r", tuner.verify, []

    def killed(graph, target, wish, found, records, runner, tell):
        number = min(records)
        told.append((number, records[number].parameters))
        tell(Dropped(number, records[number].parameters))
        raise KeyboardInterrupt

    def again(graph, target, wish, found, records, runner, tell):
        told.append(set(records))
        return real(graph, target, wish, found, records, runner, tell)

    monkeypatch.setattr(tuner, "verify", killed)
    with pytest.raises(KeyboardInterrupt):
        tune(network(), TARGET, WISH, database, Paced(), stopped=after(2))
    monkeypatch.setattr(tuner, "verify", again)
    outcome = tune(network(), TARGET, WISH, database, Paced(), stopped=after(0))
    (number, parameters), left = told
    assert number not in left
    assert outcome.resumed == 2
    assert all(record.parameters != parameters for record in read_database(database))


def test_records_that_a_run_drops_leave_the_database(tmp_path):
    database = tmp_path / "r"
    first = tune(network(), TARGET, WISH, database, Paced(), stopped=after(2))
    stranger = replace(
        first.verified.kept[0], key=replace(first.verified.kept[0].key, structure="other")
    )
    known = read_database(database)
    known.add(stranger)
    known.write(database)
    tune(network(), TARGET, WISH, database, Paced(model_gain=1.2), stopped=after(2))
    assert list(read_database(database)) == [stranger]


def test_a_database_that_cannot_be_written_to_is_told_before_anything_else(tmp_path):
    paced = Paced()
    with pytest.raises(BiremeError) as caught:
        tune(network(), TARGET, WISH, tmp_path / "none" / "r", paced)
    assert caught.value.code == "BM3006"
    assert paced.asked == 0


def test_an_instruction_set_that_the_target_lacks(tmp_path):
    with pytest.raises(BiremeError, match="x86-64-v4") as caught:
        tune(network(), TARGET, replace(WISH, level="sse"), tmp_path / "r", Paced())
    assert caught.value.code == "BM6002"


def test_a_lower_level_keeps_to_the_tasks_of_the_first(tmp_path):
    database, generic = tmp_path / "r", find("x86:generic")
    tune(network(), generic, WISH, database, Paced(), stopped=after(1))
    first = read_database(database)
    wish = replace(WISH, level="x86-64-v3")
    outcome = tune(network(), generic, wish, database, Paced(), stopped=after(1))
    assert outcome.level == "x86-64-v3"
    assert {r.key.level for r in outcome.verified.kept} == {"x86-64-v3"}
    assert {r.key.level for r in read_database(database)} == {"x86-64-v3", "x86-64-v4"}
    options = Options(cache=None, jobs=0, records=read_database(database))
    _, report = compile_graph(network(), generic, options)
    assert report.records == len(first) + len(outcome.verified.kept)  # none is left out


def test_a_real_device_measures_a_whole_model():
    """On this machine: the records of a real measurement are judged, whatever the judgement."""
    found = profile(network(), TARGET, WISH, Database(), RUNNER)
    records = {}
    for task in found.tasks:
        values = full(task.space, propose(task.space, {}, [], [], 1, "")[0])
        records[task.number] = Record(task.key, "", "", values, 1.1, 1, "")
    verified = verify(network(), TARGET, WISH, found, records, RUNNER)
    assert isinstance(verified, Verified)
    assert not verified.differs
    assert sorted(r.key for r in (*verified.kept, *verified.dropped)) == sorted(
        r.key for r in records.values()
    )
    if not verified.kept:
        assert verified.time == Ratio(1.0, 0.0)


# --- from outside ---------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path):
    (tmp_path / "net.onnx").write_bytes(export(network()).SerializeToString())
    return [
        sys.executable, "-c", "from bireme.cli import main; main()", "tune", "net.onnx", "--json",
        "--target", "x86:znver4", "--threads", "1", "--jobs", "1", "--no-cache",
    ]  # fmt: skip


def started(command, folder, minutes):
    return subprocess.Popen(
        [*command, "--minutes", str(minutes)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def batches(folder) -> int:
    journal = folder / "records.jsonl.journal"
    return len(journal.read_text().splitlines()) - 1 if journal.exists() else 0


def wait_for_batches(process, folder, count) -> None:
    deadline = time.monotonic() + 120
    while batches(folder) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lines(folder) -> list[str]:
    return (folder / "records.jsonl.journal").read_text().splitlines()


def test_a_run_that_is_killed_goes_on(command, tmp_path):
    """Killed twice, at whatever it was doing: every batch that was told of is still known, in
    order, and nothing is measured again.
    """
    known: list[str] = []
    for _ in range(2):
        process = started(command, tmp_path, 60)
        wait_for_batches(process, tmp_path, max(0, len(known) - 1) + 1)
        process.kill()
        process.communicate()
        whole = [line for line in lines(tmp_path) if line.endswith("}")]
        assert whole[: len(known)] == known
        assert all(json.loads(line) for line in whole)
        assert read_database(tmp_path / "records.jsonl").text == ""
        known = whole
    again = started(command, tmp_path, 60)
    wait_for_batches(again, tmp_path, len(known))
    found = lines(tmp_path)
    again.send_signal(signal.SIGINT)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert found[: len(known)] == known
    tried = [
        (trial["kernel"], sorted(trial["parameters"].items()))
        for line in found[1:]
        for trial in json.loads(line)["trials"]
    ]
    assert len({str(each) for each in tried}) == len(tried) > 0
    result = json.loads(out)
    assert result["resumed_batches"] == len(known) - 1
    assert len(read_database(tmp_path / "records.jsonl")) == len(result["kept"])
    assert batches(tmp_path) == 0


def test_a_read_only_database(command, tmp_path):
    if os.geteuid() == 0:  # who may do anything: a folder in the file's place
        (tmp_path / "records.jsonl").mkdir()
    else:
        tmp_path.chmod(0o555)
    out, _ = started(command, tmp_path, 0.05).communicate(timeout=120)
    assert json.loads(out)["error"]["code"] in ("BM3006", "BM6001")
