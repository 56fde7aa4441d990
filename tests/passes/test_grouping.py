"""Properties of the grouping on random blocks, and the cases that decide speed."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bireme.passes.grouping import Group, Limits, Node, Role, group

BIG, ROW, SMALL = (8, 16), (8, 1), (4, 4)
ANCHORS = {Role.CONTRACTION, Role.REDUCTION, Role.POOL, Role.OPAQUE}


def pointwise(*reads, name="add", shape=BIG, **more):
    return Node(name, Role.POINTWISE, shape, reads, **more)


def injective(name, read, shape=BIG, **more):
    return Node(name, Role.INJECTIVE, shape, (read,), **more)


def conv(*reads, name="conv", shape=BIG, **more):
    return Node(name, Role.CONTRACTION, shape, reads, **more)


def reduction(read, name="reduce_sum", shape=ROW, **more):
    return Node(name, Role.REDUCTION, shape, (read,), **more)


NO_LIMITS = Limits()


def kinds(nodes, limits=NO_LIMITS):
    """Groups as {members: kind}, the last node's result being the output."""
    nodes = [*nodes[:-1], replace(nodes[-1], escapes=True)]
    return {g.members: g.kind for g in group(nodes, limits)}


# --- contractions ---------------------------------------------------------------------------------


def test_a_depthwise_convolution_joins_the_convolution_it_stands_behind():
    nodes = [conv(-1), pointwise(0), conv(1, behind=0), pointwise(2)]
    assert kinds(nodes) == {(0, 1, 2, 3): "contraction"}
    nodes = [conv(-1), pointwise(0), conv(1, behind=0), pointwise(2, 1)]
    assert kinds(nodes) == {(0, 1): "contraction", (2, 3): "contraction"}
    nodes = [conv(-1, escapes=True), conv(0, behind=0)]
    assert kinds(nodes) == {(0,): "contraction", (1,): "contraction"}


def test_a_contraction_takes_what_follows():
    nodes = [conv(-1, -1), pointwise(0, -1), pointwise(1, name="relu")]
    assert kinds(nodes) == {(0, 1, 2): "contraction"}


def test_a_diamond_behind_a_contraction_is_taken_whole():
    """X * min(relu(x + 3), 6): the product waits until its other operand has joined."""
    nodes = [
        conv(-1, -1), pointwise(0, -1), pointwise(1, -1), pointwise(2, name="relu"),
        pointwise(1, 3, name="mul"),
    ]  # fmt: skip
    assert kinds(nodes) == {(0, 1, 2, 3, 4): "contraction"}


def test_a_residual_goes_to_the_last_of_a_chain():
    nodes = [
        pointwise(-1), conv(0, -1), pointwise(1, name="relu"), conv(2, -1), pointwise(3, 0),
        pointwise(4, name="relu"),
    ]  # fmt: skip
    assert kinds(nodes) == {(0,): "pointwise", (1, 2): "contraction", (3, 4, 5): "contraction"}


def test_a_result_that_others_read_is_a_second_result():
    nodes = [conv(-1, -1), pointwise(0, name="relu"), reduction(0), pointwise(1, 2)]
    assert kinds(nodes) == {(0, 1): "contraction", (2,): "reduction", (3,): "pointwise"}


def test_what_feeds_only_the_epilogue_joins_it():
    nodes = [pointwise(-1, name="exp"), pointwise(0, -1), conv(-1, -1), pointwise(1, 2)]
    assert kinds(nodes) == {(0, 1, 2, 3): "contraction"}
    nodes[0] = replace(nodes[0], escapes=True)
    assert kinds(nodes) == {(0,): "pointwise", (1, 2, 3): "contraction"}


def test_other_shapes_stay_outside():
    nodes = [
        conv(-1, -1),
        pointwise(0, shape=(2, *BIG)),
        pointwise(0, name="relu"),
        pointwise(1, 2),
    ]
    assert kinds(nodes)[0, 2] == "contraction"


def test_zeros_around_the_only_result_are_stored_by_the_contraction():
    pad = injective("pad", 1, (10, 18), zero_pad=True)
    nodes = [conv(-1, -1), pointwise(0, name="relu"), pad, conv(2, -1)]
    assert kinds(nodes) == {(0, 1, 2): "contraction", (3,): "contraction"}
    both = [*nodes[:3], conv(2, -1), pointwise(1, 3, shape=BIG)]
    assert kinds(both) == {(0, 1): "contraction", (2,): "pointwise", (3, 4): "contraction"}
    ones = [*nodes[:2], replace(pad, zero_pad=False), conv(2, -1)]
    assert (2,) in kinds(ones)


def test_moves_before_a_matrix_product_join_it():
    nodes = [
        pointwise(-1, name="exp"), injective("transpose", 0), injective("transpose", -1),
        conv(1, 2, name="matmul"),
    ]  # fmt: skip
    assert kinds(nodes) == {(0,): "pointwise", (1, 2, 3): "contraction"}
    nodes[3] = conv(1, 2)
    assert kinds(nodes) == {(0, 1): "pointwise", (2,): "pointwise", (3,): "contraction"}


def test_two_contractions_are_two_kernels():
    nodes = [conv(-1, -1), conv(-1, -1), pointwise(0, 1), pointwise(2, name="relu")]
    assert sorted(kinds(nodes).values()) == ["contraction", "contraction"]
    assert {(0, 2, 3), (1,)} == set(kinds(nodes))


# --- reductions and pools -------------------------------------------------------------------------


def test_a_reduction_takes_what_feeds_it_and_what_follows():
    nodes = [
        pointwise(-1, name="exp"), injective("transpose", 0), reduction(1),
        pointwise(2, shape=ROW, name="sqrt"),
    ]  # fmt: skip
    assert kinds(nodes) == {(0, 1, 2, 3): "reduction"}


def test_a_row_op_takes_what_feeds_it_and_what_follows():
    nodes = [
        pointwise(-1, name="exp"), pointwise(0), reduction(1, "softmax", BIG), pointwise(2),
    ]  # fmt: skip
    assert kinds(nodes) == {(0, 1, 2, 3): "reduction"}


def test_a_shared_operand_of_a_reduction_is_stored():
    nodes = [pointwise(-1, name="exp"), reduction(0), pointwise(0, 1, name="div")]
    assert kinds(nodes) == {(0,): "pointwise", (1,): "reduction", (2,): "pointwise"}


def test_pools_take_only_what_follows():
    pool = Node("max_pool", Role.POOL, SMALL, (0,))
    nodes = [pointwise(-1, name="relu"), pool, pointwise(1, shape=SMALL)]
    assert kinds(nodes) == {(0,): "pointwise", (1, 2): "pool"}


def test_opaque_ops_stand_alone():
    nodes = [pointwise(-1), Node("lstm", Role.OPAQUE, BIG, (0,)), pointwise(1)]
    assert kinds(nodes) == {(0,): "pointwise", (1,): "opaque", (2,): "pointwise"}


# --- pointwise ------------------------------------------------------------------------------------


def test_results_of_one_shape_share_a_loop():
    nodes = [pointwise(-1, escapes=True), pointwise(0, name="exp"), pointwise(0, 1)]
    assert kinds(nodes) == {(0, 1, 2): "pointwise"}


def test_branches_of_a_diamond_come_together():
    nodes = [pointwise(-1), pointwise(-1), pointwise(0), pointwise(1), pointwise(2, 3)]
    assert kinds(nodes) == {(0, 1, 2, 3, 4): "pointwise"}


@pytest.mark.parametrize(("name", "joins"), [("mul", True), ("exp", False)])
def test_only_cheap_work_is_repeated_for_a_broadcast(name, joins):
    nodes = [pointwise(-1, name=name, shape=ROW), pointwise(-1, 0)]
    assert ((0, 1) in kinds(nodes)) is joins


@pytest.mark.parametrize(
    ("move", "joins"), [("transpose", True), ("pad", True), ("gather", False), ("resize", False)]
)
def test_costly_work_moves_only_where_it_is_read_once(move, joins):
    nodes = [pointwise(-1, name="exp"), injective(move, 0)]
    assert ((0, 1) in kinds(nodes)) is joins


def test_a_concat_is_the_last_of_its_kernel():
    whole = Node("concat", Role.INJECTIVE, (8, 32), (0, 1))
    nodes = [pointwise(-1), pointwise(-1), whole, pointwise(2, shape=(8, 32))]
    assert kinds(nodes) == {(0, 1, 2): "pointwise", (3,): "pointwise"}


def test_a_concat_of_whole_rows_is_left_to_memory_planning():
    """Behind axes of size 1 its operands can be stored in place."""
    parts = [pointwise(-1, shape=(1, 8, 16)), pointwise(-1, shape=(1, 4, 16))]
    nodes = [*parts, Node("concat", Role.INJECTIVE, (1, 12, 16), (0, 1))]
    assert len(kinds(nodes)) == 3


def test_bare_nodes_stay_outside():
    nodes = [pointwise(-1), Node("reshape", Role.BARE, SMALL, (0,)), pointwise(1, shape=SMALL)]
    assert kinds(nodes) == {(0,): "pointwise", (1,): None, (2,): "pointwise"}


def test_limits_on_ops_and_operands():
    chain = [pointwise(i - 1, name="relu") for i in range(10)]
    assert sorted(map(len, kinds(chain, Limits(ops=4)))) == [2, 4, 4]
    wide = [pointwise(i - 1, -1) for i in range(10)]
    assert max(map(len, kinds(wide, Limits(operands=5)))) <= 5


# --- on random blocks -----------------------------------------------------------------------------

NAMES = {
    Role.POINTWISE: ["add", "exp", "relu"],
    Role.INJECTIVE: ["transpose", "pad", "concat", "gather", "slice", "resize", "expand"],
    Role.CONTRACTION: ["conv", "matmul"],
    Role.REDUCTION: ["reduce_sum", "softmax"],
    Role.POOL: ["max_pool"],
    Role.OPAQUE: ["lstm"],
    Role.BARE: ["reshape", "if"],
}


@st.composite
def blocks(draw):
    nodes = []
    for number in range(draw(st.integers(1, 16))):
        role = draw(st.sampled_from([Role.POINTWISE] * 3 + list(Role)))
        name = draw(st.sampled_from(NAMES[role]))
        nodes.append(
            Node(
                name,
                role,
                draw(st.sampled_from([BIG, BIG, ROW, SMALL])),
                tuple(draw(st.lists(st.integers(-1, number - 1), min_size=1, max_size=3))),
                escapes=draw(st.integers(0, 4)) == 0,
                zero_pad=name == "pad" and draw(st.booleans()),
            )
        )
    read = {r for n in nodes for r in n.reads}
    return [n if i in read else replace(n, escapes=True) for i, n in enumerate(nodes)]


@settings(max_examples=400, deadline=None)
@given(blocks(), st.builds(Limits, st.integers(2, 8), st.integers(3, 12)))
def test_groups_of_random_blocks(nodes, limits):
    groups = group(nodes, limits)
    assert groups == group(nodes, limits)
    assert sorted(m for g in groups for m in g.members) == list(range(len(nodes)))
    place = {m: i for i, g in enumerate(groups) for m in g.members}
    for i, node in enumerate(nodes):
        assert all(place[r] <= place[i] for r in node.reads if r >= 0)
    for each in groups:
        check_group(nodes, each, limits)


def check_group(nodes: list[Node], each: Group, limits: Limits) -> None:
    members = [nodes[m] for m in each.members]
    anchors = [n for n in members if n.role in ANCHORS]
    if any(n.role is Role.BARE for n in members):
        assert each.kind is None
        assert len(members) == 1
        return
    assert len(anchors) <= 1
    assert each.kind == (anchors[0].role.value if anchors else "pointwise")
    assert len(members) <= limits.ops or len(members) == 1
    inside = set(each.members)
    outputs = [
        m for m in each.members
        if nodes[m].escapes or any(m in n.reads and i not in inside for i, n in enumerate(nodes))
    ]  # fmt: skip
    assert len({nodes[m].shape for m in outputs}) == 1
    if each.kind == "opaque":
        assert len(members) == 1
    concats = [m for m in each.members if nodes[m].name == "concat"]
    assert all(outputs == [m] for m in concats)
    if each.kind in ("contraction", "pool"):
        (anchor,) = anchors
        for member in members:
            if member.role is Role.POINTWISE:
                assert member.shape == anchor.shape


# --- attention ------------------------------------------------------------------------------------

SCORES, MIXED, TURNED = (2, 4, 9, 7), (2, 4, 9, 8), (2, 9, 4, 8)


def attention(**of_scores):
    """A scaled product, softmax, product, transpose."""
    return [
        conv(-1, -1, name="matmul", shape=SCORES, attends=True),
        pointwise(0, -1, name="mul", shape=SCORES, **of_scores),
        reduction(1, name="softmax", shape=SCORES, attends=True),
        conv(2, -1, name="matmul", shape=MIXED, attends=True),
        injective("transpose", 3, shape=TURNED, attends=True),
    ]


def test_attention_is_one_kernel():
    assert kinds(attention()) == {(0, 1, 2, 3, 4): "attention"}


def test_attention_takes_a_transpose_of_what_follows_it():
    nodes = attention()
    nodes[4:] = [pointwise(3, shape=MIXED), injective("transpose", 4, shape=TURNED, attends=True)]
    assert kinds(nodes) == {(0, 1, 2, 3, 4, 5): "attention"}


@pytest.mark.parametrize("part", [0, 2, 3])
def test_attention_needs_all_its_parts(part):
    nodes = attention()
    nodes[part] = replace(nodes[part], attends=False)
    assert "attention" not in kinds(nodes).values()


def test_scores_that_something_else_reads_are_kept():
    assert "attention" not in kinds(attention(escapes=True)).values()
    assert "attention" not in kinds([*attention(), pointwise(1, shape=SCORES)]).values()


def test_powers_that_something_else_reads_are_kept():
    assert "attention" not in kinds([*attention(), pointwise(2, shape=SCORES)]).values()


def test_a_softmax_of_values_is_not_that_of_weights():
    nodes = attention()
    nodes[3] = conv(-1, 2, name="matmul", shape=MIXED, attends=True)
    assert "attention" not in kinds(nodes).values()


def test_attention_within_limits():
    assert kinds(attention(), Limits(ops=3)) == {
        (0, 1): "contraction", (2,): "reduction", (3,): "contraction", (4,): "pointwise"
    }  # fmt: skip
