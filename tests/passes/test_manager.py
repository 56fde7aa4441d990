"""The pass manager: order, records, checks of what passes declare, dumps, passes by name."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from bireme.ir import BiremeError, Builder
from bireme.passes import DEFAULT, PASSES, Outcome, Pass, Property, dump_to, make_pass, optimise
from bireme.passes.dce import Dce
from bireme.passes.precision import Precision
from tests.passes.support import TARGET, Net, apply, names, run_passes


def dead_exp():
    net = Net()
    x = net.input("x", 4)
    net.b.at("dead").exp(x)
    return net.done(net.b.at("live").relu(x))


def test_records_say_what_each_pass_did():
    graph = dead_exp()
    seen = []
    records = optimise(graph, TARGET, passes=[Dce(), Dce()], report=seen.append)
    assert [(r.name, r.ops_before, r.ops_after, r.changed) for r in records] == [
        ("dce", 2, 1, True),
        ("dce", 1, 1, False),
    ]
    assert seen == records
    assert str(records[0]).split(" ms  ")[1] == "removed 1 op and 0 weights"
    assert str(records[1]).split(" ms  ")[1] == "nothing to do"
    assert all(r.seconds > 0 for r in records)


NO_EXP = Property(
    "no exp", lambda g: [f"{op.name} at {op.node}" for op in g.walk() if op.name == "exp"]
)


@dataclass(frozen=True)
class NeedsNoExp(Pass):
    name: ClassVar[str] = "needs-no-exp"
    requires: ClassVar[tuple[Property, ...]] = (NO_EXP,)

    def run(self, _graph, _description, /):
        return Outcome(False)


@dataclass(frozen=True)
class MakesExp(Pass):
    name: ClassVar[str] = "makes-exp"
    ensures: ClassVar[tuple[Property, ...]] = (NO_EXP,)

    def run(self, graph, _description, /):
        (relu,) = [op for op in graph.body.ops if op.name == "relu"]
        relu.replace_with([Builder(graph, before=relu).exp(relu.operands[0])])
        return Outcome(True, "made an exp")


@dataclass(frozen=True)
class BreaksTypes(Pass):
    name: ClassVar[str] = "breaks-types"

    def run(self, graph, _description, /):
        (relu,) = [op for op in graph.body.ops if op.name == "relu"]
        # A pass has no way to do this through the builder; the verifier must see it all the same.
        softmax = Builder(graph, before=relu).op("softmax", relu.operands, axis=0)
        relu.mlir.attributes["axis"] = softmax.mlir.attributes["axis"]
        return Outcome(True, "gave relu an attribute that it does not have")


def test_requirements_are_checked_when_asked():
    with pytest.raises(BiremeError) as caught:
        run_passes(dead_exp(), TARGET, [NeedsNoExp()], verify=True)
    assert caught.value.code == "BM3002"
    assert caught.value.where == "pass needs-no-exp"
    assert "requires no exp; found exp at dead" in str(caught.value)
    run_passes(dead_exp(), TARGET, [Dce(), NeedsNoExp()], verify=True)
    run_passes(dead_exp(), TARGET, [NeedsNoExp()])


def test_promises_are_checked_when_asked():
    with pytest.raises(BiremeError) as caught:
        run_passes(dead_exp(), TARGET, [Dce(), MakesExp()], verify=True)
    assert caught.value.code == "BM3002"
    assert "ensures no exp; found exp at live" in str(caught.value)


def test_invalid_ir_names_the_pass():
    with pytest.raises(BiremeError) as caught:
        run_passes(dead_exp(), TARGET, [Dce(), BreaksTypes()], verify=True)
    assert caught.value.code == "BM3002"
    assert caught.value.where == "pass breaks-types"
    assert "BM2002" in str(caught.value)
    assert "live" in str(caught.value)


def test_dumps_stand_before_and_after(tmp_path):
    optimise(dead_exp(), TARGET, passes=[Dce(), Dce()], dump=dump_to(tmp_path))
    files = sorted(p.name for p in tmp_path.iterdir())
    assert files == [
        "00-dce.after.mlir", "00-dce.before.mlir", "01-dce.after.mlir", "01-dce.before.mlir",
    ]  # fmt: skip
    before, after = ((tmp_path / f"00-dce.{s}.mlir").read_text() for s in ("before", "after"))
    assert "bireme.exp" in before
    assert "bireme.exp" not in after
    assert "live" in after


def test_dumps_of_named_passes_only(tmp_path):
    passes = [Dce(), make_pass("fold-constants")]
    optimise(dead_exp(), TARGET, passes=passes, dump=dump_to(tmp_path, ["fold-constants"]))
    assert {p.name for p in tmp_path.iterdir()} == {
        "01-fold-constants.before.mlir", "01-fold-constants.after.mlir",
    }  # fmt: skip


def test_passes_are_found_by_name_with_options():
    assert make_pass("dce") == Dce()
    assert make_pass("fuse", max_ops=3).max_ops == 3
    for name, kind in PASSES.items():
        assert kind.name == name
        assert isinstance(make_pass(name), kind)
        assert kind.__module__ == f"bireme.passes.{name.replace('-', '_')}"
        assert kind.__doc__
    # Reduced precision is an option; everything else is always done.
    assert {type(p) for p in DEFAULT} | {Precision} == set(PASSES.values())


@pytest.mark.parametrize(
    ("name", "options", "detail"),
    [
        ("fusion", {}, "expected one of cse, dce"),
        ("fuse", {"depth": 3}, "fuse takes max_ops, max_operands; found depth"),
        ("dce", {"hard": True}, "dce takes no options; found hard"),
    ],
)
def test_unknown_passes_and_options_are_errors(name, options, detail):
    with pytest.raises(BiremeError, match=detail) as caught:
        make_pass(name, **options)
    assert caught.value.code == "BM3001"


def test_passes_run_in_the_given_order():
    graph = dead_exp()
    apply(graph, Dce())
    assert names(graph.body) == ["relu"]
