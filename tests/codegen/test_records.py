"""Tuning records: files of them, and kernels compiled with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bireme.codegen.compiler import Options, compile_graph, prepare
from bireme.codegen.container import unpack
from bireme.codegen.kernel import emit_kernel
from bireme.codegen.parameters import Choice
from bireme.codegen.records import (
    Database,
    KernelKey,
    Record,
    key_of,
    parse_database,
    read_database,
    records_for,
)
from bireme.ir import BiremeError, Builder, DType, Graph, TensorType
from bireme.ir.reference import run
from bireme.runtime import Model, Session
from bireme.targets.registry import find

ZNVER4, GENERIC = find("x86:znver4"), find("x86:generic")


def network() -> Graph:
    """Two products of different sizes, a transpose and row statistics: [40, 48] → [48, 40]."""
    graph = Graph("net")
    x = graph.add_input("x", TensorType(DType.F32, (40, 48)))
    b = Builder(graph)
    rng = np.random.default_rng(0)

    def weight(*shape: int):
        name = "w" + "x".join(map(str, shape))
        return b.constant(rng.standard_normal(shape).astype(np.float32) / 8, name)

    hidden = b.relu(b.matmul(x, weight(48, 80)))
    normal = b.softmax(b.matmul(hidden, weight(80, 48)), axis=-1)
    graph.set_outputs([("y", b.transpose(b.tanh(normal), perm=(1, 0)))])
    return graph


def record_for(spec, target, level=0, gain=1.5, **parameters) -> Record:
    """A record of the kernel's default parameters with some of them replaced."""
    description = target.description
    chosen = emit_kernel(spec, description.levels[level]).chosen
    key = key_of(spec, description.target, description.levels[level].name)
    values = {**chosen.values, **parameters}
    return Record(key, "ops", "template", values, gain, 1, "cpu")


def moved(space) -> dict[str, int]:
    """Legal values that are not the default's, as many as can be together."""
    values: dict[str, int] = {}
    for name, axis in space.axes.items():
        for value in axis:
            if value != getattr(space.default, name) and space.holds({**values, name: value}):
                values[name] = value
                break
    return values


@pytest.fixture(scope="module")
def specs():
    return prepare(network(), ZNVER4)[0].specs


@pytest.fixture(scope="module")
def full(specs):
    """A record for every kernel of the network that has parameters, each unlike the default."""
    found = Database()
    for spec in specs:
        chosen = emit_kernel(spec, ZNVER4.description.levels[0]).chosen
        if chosen is not None:
            found.add(record_for(spec, ZNVER4, **moved(chosen.space)))
    return found


def keys():
    sizes = st.lists(st.integers(0, 99), min_size=2, max_size=2).map(tuple)
    return st.builds(
        KernelKey, st.just("x86"), st.sampled_from(["v3", "v4"]), st.sampled_from("ab"), sizes
    )


def databases():
    values = st.dictionaries(st.sampled_from(["rows", "blocks"]), st.integers(1, 64))
    gain = st.sampled_from([1.01, 1.2, 1.5])
    records = st.builds(
        Record, keys(), st.just("conv"), st.just("t"), values, gain, st.just(2), st.just("ü")
    )
    return st.lists(records, max_size=6).map(Database)


def merged(*parts: Database) -> str:
    return Database(record for part in parts for record in part).text


@given(databases(), databases(), databases())
def test_merging_depends_on_no_order_and_files_are_stable(a, b, c):
    assert merged(a, b, c) == merged(c, b, a) == merged(parse_database(merged(a, b), ""), c)
    assert parse_database(a.text, "a").text == a.text
    assert a.text.splitlines() == sorted(a.text.splitlines(), key=lambda s: parse_database(s, "")
                                         .__iter__().__next__().key)  # fmt: skip


def test_the_larger_gain_stays_when_databases_are_merged():
    key = KernelKey("x86", "v4", "ab", (1, 2))
    small = Record(key, "conv", "t", {"rows": 1}, 1.1, 1, "")
    large = replace(small, gain=1.2, parameters={"rows": 2})
    assert list(Database([large, small])) == list(Database([small, large])) == [large]
    override = Database([large])
    override.update(Database([small]))
    assert list(override) == [small]


def test_similar_kernels_have_the_structure_and_are_sorted_by_sizes(specs):
    keys = [key_of(spec, "x86", "x86-64-v4") for spec in specs]
    plain = [k for k, s in zip(keys, specs, strict=True) if "relu" not in s.text]
    assert len({k.structure for k in keys}) == len(keys)
    key = plain[0]
    near, far = (
        replace(key, sizes=tuple(size * factor for size in key.sizes)) for factor in (2, 8)
    )
    records = [Record(k, "", "", {}, 1.1, 1, "") for k in (far, key, near)]
    other = replace(records[0], key=replace(near, structure="other"))
    assert [r.key for r in Database([*records, other]).similar(key)] == [near, far]


def test_names_are_no_part_of_a_key():
    def key(name):
        graph = Graph("net")
        x = graph.add_input(name, TensorType(DType.F32, (8, 8)))
        b = Builder(graph)
        graph.set_outputs([(f"{name}_out", b.tanh(x))])
        (spec,) = prepare(graph, ZNVER4)[0].specs
        return key_of(spec, "x86", "x86-64-v4")

    assert key("x") == key("another")
    assert key("x").sizes == (8, 8, 8, 8)  # of the argument and of the result


LINE = Record(KernelKey("x86", "v4", "ab", (1,)), "conv", "t", {"rows": 1}, 1.5, 1, "cpu").line


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (LINE[:-5], "not JSON"),
        ("[1, 2]", "object"),
        (LINE.replace('"ops"', '"oops"'), "ops"),
        (LINE.replace("1.5", '"much"'), "gain"),
        (LINE.replace("1.5", "NaN"), "gain"),
        (LINE.replace("[1]", '["1"]'), "sizes"),
        (LINE.replace('"rows": 1', '"rows": 1.5'), "parameters"),
        (LINE.replace("[1]", "[true]"), "sizes"),
    ],
)
def test_a_damaged_line_is_an_error_that_names_it(tmp_path, line, reason):
    path = tmp_path / "records.jsonl"
    path.write_text(f"{LINE}\n\n{line}\n")
    with pytest.raises(BiremeError, match=reason) as caught:
        read_database(path)
    assert caught.value.code == "BM6005"
    assert caught.value.where == f"{path}:3"


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(BiremeError) as caught:
        read_database(tmp_path / "none")
    assert caught.value.code == "BM6001"
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(BiremeError) as caught:
        read_database(tmp_path / "binary")
    assert caught.value.code == "BM6005"


@pytest.mark.parametrize("target", [ZNVER4, GENERIC], ids=lambda t: t.name)
def test_compiled_with_records_results_are_equal(target, full):
    x = np.random.default_rng(1).standard_normal((40, 48)).astype(np.float32)
    (expected,) = run(network(), {"x": x}).values()
    data, report = compile_graph(
        network(), target, Options(cache=None, jobs=0, records=Database(full))
    )
    plain, untuned = compile_graph(
        network(), target, Options(cache=None, jobs=0, records=Database())
    )
    assert report.records == len(full) > 2
    assert untuned.records == 0
    assert data != plain
    for isa in (level.name for level in target.description.levels):
        (found,) = Session(Model.load(data, max_isa=isa)).run({"x": x}).values()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_records_travel_in_the_artefact(full):
    data, _ = compile_graph(network(), ZNVER4, Options(cache=None, jobs=0, records=full))
    plan, _, _ = unpack(data)
    assert parse_database(plan.records.decode(), "artefact").text == full.text


def test_levels_share_the_division_of_the_first(specs):
    """Tasks are the same on every level, whatever the records of each say."""
    (spec,) = (s for s in specs if "relu" in s.text)
    levels = GENERIC.description.levels
    first = emit_kernel(spec, levels[0], Choice({"group": 1}, {"group": 1}))
    assert first.work.tasks != emit_kernel(spec, levels[0]).work.tasks
    for own in ({}, {"group": 2}, {"group": 1, "rows": 2, "blocks": 1}):
        other = emit_kernel(spec, levels[1], Choice(own, {"group": 1}))
        assert other.work.tasks == first.work.tasks
    assert other.chosen.values["rows"] == 2
    assert (
        emit_kernel(spec, levels[1], Choice({"group": 2}, {"group": 1})).chosen.values["rows"] > 2
    )


@pytest.mark.parametrize(
    "values", [{"group": 3}, {"group": 10**9}, {"group": 0}, {"rows": -1}, {"unknown": 1}]
)
def test_values_that_do_not_fit_are_not_used(specs, values):
    (spec,) = (s for s in specs if "relu" in s.text)
    level = ZNVER4.description.levels[0]
    emitted = emit_kernel(spec, level, Choice(values, values))
    assert emitted.chosen.is_default


def test_later_files_count_and_untuned_leaves_out_what_is_shipped(tmp_path, full, monkeypatch):
    record = next(iter(full))
    monkeypatch.setattr("bireme.codegen.records.shipped", lambda target: full)
    changed = Database([replace(record, gain=1.01, ops="changed")])
    changed.write(tmp_path / "a")
    assert len(records_for(ZNVER4, [], untuned=True)) == 0
    assert records_for(ZNVER4, []).text == full.text
    assert records_for(ZNVER4, [tmp_path / "a"]).get(record.key).ops == "changed"
    assert len(records_for(ZNVER4, [tmp_path / "a"], untuned=True)) == 1
