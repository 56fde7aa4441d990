"""Another process as the device, through TVM's RPC on this machine."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bireme.codegen.build import Workers
from bireme.codegen.compiler import Options
from bireme.codegen.records import Database
from bireme.codegen.tune.batch import Bench, Best
from bireme.codegen.tune.profile import Wish, profile
from bireme.codegen.tune.remote import remote_runner
from bireme.codegen.tune.runner import MeasureFault, processor
from bireme.codegen.tune.search import propose
from bireme.codegen.tune.variants import Variants
from bireme.ir import BiremeError
from tests.cli.support import call
from tests.codegen.tune.support import TARGET, Tampered, native, network


@pytest.fixture(scope="module")
def device():
    command = "from bireme.cli import main; main()"
    server = subprocess.Popen(
        [sys.executable, "-c", command, "tune", "--serve", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield f"rpc://{server.stdout.readline().split()[-1]}"
    finally:
        server.kill()
        server.communicate()


def test_a_device_that_serves_measures_and_judges(device, tmp_path):
    runner = remote_runner(device, 1)
    assert runner.threads == 1
    assert runner.cpu == processor()
    wish = Wish(10, options=Options(cache=None, jobs=0))
    model = profile(network(), TARGET, wish, Database(), runner)
    assert model.nanoseconds > 0
    task = next(t for t in model.tasks if "96" in t.spec.text and t.template == "matmul")
    candidates = propose(task.space, {}, [], [], 1, "")
    nothing = native(tmp_path, "return 0;")
    for workers, outcome in ((Workers(TARGET, 0), "ok"), (Tampered(nothing), "wrong")):
        with workers:
            (trial,), _ = Bench(Variants(TARGET, workers, 0), runner, 0).try_all(
                task, candidates, Best({})
            )
        assert trial.outcome == outcome
    with pytest.raises(MeasureFault, match="BM4"):
        runner.measure([model.artefact[:-1]], model.request, 1.0)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("rpc://127.0.0.1:1", "BM6006"),
        ("http://127.0.0.1:9", "BM6002"),
        ("rpc://host", "BM6002"),
        ("rpc://host:port", "BM6002"),
    ],
)
def test_a_device_that_is_not_there(name, code):
    with pytest.raises(BiremeError) as caught:
        remote_runner(name, None)
    assert caught.value.code == code


@pytest.mark.parametrize("address", ["9190", "host:", "127.0.0.1:99999"])
def test_an_address_that_cannot_be_served(address):
    found = call("tune", "--serve", address, "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["error"]["code"] == "BM6002"
