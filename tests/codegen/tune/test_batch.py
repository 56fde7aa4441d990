"""The gate: candidates that are wrong, crash or do not compile, beside the default."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bireme.codegen.build import Workers
from bireme.codegen.compiler import Options
from bireme.codegen.records import Database
from bireme.codegen.tune import batch as batch_module
from bireme.codegen.tune.batch import Bench, Best, batch_size, longest_loss
from bireme.codegen.tune.measure import Measure, measure
from bireme.codegen.tune.profile import Wish, profile
from bireme.codegen.tune.runner import MeasureFault, local_runner
from bireme.codegen.tune.search import propose
from bireme.codegen.tune.variants import Variants
from tests.codegen.tune.support import TARGET, Tampered, native, network

RUNNER = local_runner(1)


@pytest.fixture(scope="module")
def model():
    return profile(
        network(), TARGET, Wish(10, options=Options(cache=None, jobs=0)), Database(), RUNNER
    )


@pytest.fixture
def task(model):
    return max(model.tasks, key=lambda task: task.nanoseconds)


def judged(task, workers, count=2):
    candidates = propose(task.space, {}, [], [], count, "")
    with workers:
        trials, best = Bench(Variants(TARGET, workers, 0), RUNNER, 0).try_all(
            task, candidates, Best({})
        )
    assert [t.parameters for t in sorted(trials, key=lambda t: candidates.index(t.parameters))] == (
        candidates
    )
    return trials, best


def test_a_profile_has_the_kernels_with_parameters(model):
    assert {t.template for t in model.tasks} >= {"matmul"}
    assert model.level in [level.name for level in TARGET.description.levels]
    assert 0 < sum(t.nanoseconds for t in model.tasks) < 2 * model.nanoseconds


def test_right_candidates_pass(task):
    trials, best = judged(task, Workers(TARGET, 0), 4)
    assert {t.outcome for t in trials} == {"ok"}
    assert all(t.ratio > 0 for t in trials)
    assert best.ratio <= 1


@pytest.mark.parametrize(
    ("body", "outcome", "detail"),
    [
        ("return 0;", "wrong", "5760 elements"),  # whatever the last variant left there
        ("for (int i = 0; i < 5760; ++i) ((float*)a[2])[i] = 0; return 0;", "wrong", "elements"),
        ("__builtin_trap();", "failed", "status -4"),
        ("return 1;", "failed", "BM5"),
    ],
    ids=["writes nothing", "writes zeros", "crashes", "reports a fault"],
)  # fmt: skip
def test_candidates_at_fault_are_rejected_and_reported(model, tmp_path, body, outcome, detail):
    task = next(t for t in model.tasks if "96" in t.spec.text and t.template == "matmul")
    trials, best = judged(task, Tampered(native(tmp_path, body)))
    assert best == Best({})
    assert [t.outcome for t in trials] == [outcome] * 2
    assert all(detail in t.detail for t in trials)


def test_a_candidate_that_hangs_is_ended(task, tmp_path, monkeypatch):
    monkeypatch.setattr("bireme.codegen.tune.runner._START", 3.0)
    monkeypatch.setattr("bireme.codegen.tune.runner._PATIENCE", 0.0)
    endless = native(tmp_path, "for (volatile int i = 0;; ++i) ; return 0;")
    trials, _ = judged(task, Tampered(endless), 1)
    (trial,) = trials
    assert trial.outcome == "failed"
    assert "took too long" in trial.detail


def test_a_candidate_that_does_not_compile_is_reported(task):
    trials, best = judged(task, Tampered(None))
    assert best == Best({})
    assert all(t.outcome == "failed" and "not today" in t.detail for t in trials)


def test_one_at_fault_does_not_spoil_the_others(task, tmp_path):
    crash = native(tmp_path, "__builtin_trap();")

    class Half(Workers):
        def compile(self, jobs, seconds=None):
            for number, (job, kernel) in enumerate(super().compile(jobs, seconds)):
                yield job, (replace(kernel, code=crash) if job.choice.own and number else kernel)

    trials, _ = judged(task, Half(TARGET, 0))
    assert sorted(t.outcome for t in trials) == ["failed", "ok"]


def test_slow_kernels_come_in_small_batches(task):
    assert batch_size(replace(task, launch=1e3)) == batch_module._MOST_CANDIDATES
    assert batch_size(replace(task, launch=1e9)) == 1


def test_a_kill_loses_little_whatever_a_launch_takes(task):
    for launch in (1e3, 1e6, 3e7, 1e8, 1.5e8):  # docs/tuning.md
        slow = replace(task, launch=launch)
        assert longest_loss(slow) < 8, launch
        assert batch_size(slow) >= 1


def test_an_instruction_set_that_is_missing_is_an_error_of_the_device(model):
    with pytest.raises(MeasureFault) as caught:
        RUNNER.measure([model.artefact[:-1]], model.request, 1.0)
    assert caught.value.code == "BM6006"
    assert "BM4" in caught.value.detail


def test_measured_times_are_of_rounds_and_instructions(model, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(model.artefact)
    found = measure(Measure((str(path), str(path)), (0,), 0.0, 5, 9))
    assert len(found.times) == 2
    assert found.times[0].shape == (5, len(found.ops[0]))
    assert np.all(found.times[0] >= 0)
    assert found.times[0].sum() > 0
