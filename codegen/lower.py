"""Lowers a fused graph to a plan: kernels become launches, control flow becomes jumps and loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bireme.codegen.classes import class_of, form_of
from bireme.codegen.cost import bytes_moved, nanoseconds, operations
from bireme.codegen.inplace import overwritable
from bireme.codegen.plan import Instruction, Plan, SizeCheck, Source, Tensor
from bireme.codegen.spec import KernelSpec, kernel_spec
from bireme.ir import BiremeError, Block, Dim, Graph, Op, TensorType, Value, symbol
from bireme.passes.aliases import find_aliases, root_of


@dataclass(frozen=True)
class Lowered:
    """A fused graph as a plan, and what became of its values and ops.

    `specs` are the distinct kernels, as the plan numbers them; `launches` gives the kernel op of
    each Launch by the instruction's number, `idle` the kernel ops that need no launch because
    their results lie inside other tensors, `tensors` the plan's tensor of each value. `ends` has
    the number of the instruction after an op's own, for ops that have any. `refused` are errors for
    ops that cannot be lowered: with any, the plan is not complete.
    """

    graph: Graph
    plan: Plan
    specs: list[KernelSpec]
    launches: Mapping[int, Op]
    idle: frozenset[Op]
    tensors: Mapping[Value, int]
    ends: Mapping[Op, int]
    refused: list[BiremeError]


def lower(graph: Graph) -> Lowered:
    """The plan of a fused graph and the distinct kernels it launches.

    `tasks` and `workspace` of the launches, and places in the arena, are filled in later, when
    kernels are compiled and memory is planned. Ops that no kernel holds are refused with BM3004.
    """
    lowering = _Lowering(graph)
    lowering.run()
    return Lowered(
        graph,
        lowering.plan,
        lowering.specs,
        lowering.launches,
        lowering.idle,
        lowering.tensors,
        lowering.ends,
        lowering.refused,
    )


class _Lowering:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._aliases = find_aliases(graph)
        self.plan = Plan(graph.name, graph.all_symbols, graph.data_symbols, graph.data_equalities)
        self.specs: list[KernelSpec] = []
        self.launches: dict[int, Op] = {}
        self.ends: dict[Op, int] = {}
        self.idle = self._aliases.idle
        self.refused: list[BiremeError] = []
        self._kernels: dict[str, int] = {}
        self._overwritable: list[list[int]] = []  # of each kernel
        self.tensors: dict[Value, int] = {}
        self._weights: dict[tuple[str, TensorType], int] = {}
        self._sources: dict[Source, int] = {}
        # Which op is lowered how; everything else must stand inside a kernel.
        self._lower: Mapping[str, Callable[[Op], None]] = {
            "constant": self._constant,
            "kernel": self._kernel,
            "reshape": self._reshape,
            "prefix": self._prefix,
            "bind": self._bind,
            "random_key": self._random_key,
            "if": self._if,
            "while": self._while,
            "scan": self._scan,
        }

    def run(self) -> None:
        graph, plan = self.graph, self.plan
        for name, value in zip(graph.input_names, graph.inputs, strict=True):
            self.tensors[value] = self._new(value.type, "Input", name)
        plan.inputs = [self.tensors[v] for v in graph.inputs]
        outputs = list(zip(graph.output_names, graph.outputs, strict=True))
        for name, value in outputs:
            plan.outputs.append(self._new(value.type, "Output", name))
        in_place = self._outputs_in_place([v for _, v in outputs])
        self._block(graph.body)
        for number, (name, value) in zip(plan.outputs, outputs, strict=True):
            if number not in in_place:
                self._copy(self.tensors[value], number, Source("copy", name))

    def _outputs_in_place(self, values: Sequence[Value]) -> set[int]:
        """Makes the ops that produce outputs write where the caller wants them; gives those
        outputs.
        """
        done = set()
        for number, value in zip(self.plan.outputs, values, strict=True):
            root = root_of(value)
            owner = root.owner
            if owner is None or owner.name == "constant" or root in self.tensors:
                continue
            if owner.parent is None:
                self.tensors[root] = self._view(number, root.type)
                done.add(number)
        return done

    # --- tables ---------------------------------------------------------------------------------

    def _new(self, tensor: TensorType, place: str, name: str = "") -> int:
        size = tensor.bytes
        self.plan.tensors.append(Tensor(tensor.dtype, tensor.shape, size, place, name))
        return len(self.plan.tensors) - 1

    def _view(self, base: int, tensor: TensorType, offset: Dim = 0) -> int:
        """The memory of another tensor seen as `tensor`, from `offset` bytes on."""
        whole = self.plan.tensors[base]
        number = self._new(tensor, "View", whole.name)
        view = self.plan.tensors[number]
        is_view = whole.place == "View"
        view.base = whole.base if is_view else base
        view.view_offset = offset
        if is_view:
            view.view_offset, view.loop = whole.view_offset + offset, whole.loop
            view.loop_stride = whole.loop_stride
        return number

    def _result(self, value: Value) -> int:
        """The tensor an op writes a result to."""
        if value in self.tensors:
            return self.tensors[value]
        alias = self._aliases.places.get(value)
        if alias is None:
            number = self._new(value.type, "Arena", value.label)
        else:
            number = self._view(self._result(alias.base), value.type, alias.offset)
        self.tensors[value] = number
        return number

    def _source(self, source: Source) -> int:
        if source not in self._sources:
            self._sources[source] = len(self.plan.sources)
            self.plan.sources.append(source)
        return self._sources[source]

    def _add(self, instruction: Instruction) -> int:
        self.plan.instructions.append(instruction)
        return len(self.plan.instructions) - 1

    def _copy(self, source: int, target: int, where: Source) -> None:
        self._add(Instruction("Copy", self._source(where), args=(source, target)))

    # --- ops ------------------------------------------------------------------------------------

    def _block(self, block: Block) -> None:
        for op in block.ops:
            if op.name not in self._lower:
                self._refuse(op, f"{op.name} is in no kernel")
                continue
            begin = len(self.plan.instructions)
            self._lower[op.name](op)
            if len(self.plan.instructions) > begin:
                self.ends[op] = len(self.plan.instructions)
            if op.name != "kernel":
                self._check_sizes(op)

    def _refuse(self, op: Op, why: str) -> None:
        """Notes that an op cannot be lowered, and goes on to find the others."""
        self.refused.append(BiremeError("BM3004", why, where=op.node))
        for value in op.results:
            self._result(value)

    def _check_sizes(self, op: Op) -> None:
        """Notes what an op assumes about sizes. In a region it is checked when that runs."""
        holder = op.parent if op.parent is not None and op.parent.name == "kernel" else op
        for constraint in op.constraints:
            source = self._source(Source(op.name, op.node))
            if holder.parent is None:
                self.plan.checks.append(SizeCheck(constraint.a, constraint.b, source))
            else:
                self._add(Instruction("Check", source, dims=(constraint.a, constraint.b)))

    def _constant(self, op: Op) -> None:
        value = op.result
        key = (op.attrs["name"], value.type)
        if key not in self._weights:
            number = self._new(value.type, "Weight", op.attrs["name"])
            array = value.constant
            assert array is not None
            self.plan.weights[number] = array
            self._weights[key] = number
        self.tensors[value] = self._weights[key]

    def _reshape(self, op: Op) -> None:
        if op.result not in self.tensors:
            self.tensors[op.result] = self._view(self.tensors[op.operands[0]], op.result.type)

    def _prefix(self, op: Op) -> None:
        x, count = (self.tensors[v] for v in op.operands)
        self._bind_sizes(op, [count])
        if op.result not in self.tensors:
            self.tensors[op.result] = self._view(x, op.result.type)

    def _bind(self, op: Op) -> None:
        (counts,) = op.operands
        whole, one = self.tensors[counts], counts.type.with_shape(())
        self._bind_sizes(
            op, [self._view(whole, one, i * one.dtype.bytes) for i in range(len(op.binds))]
        )

    def _bind_sizes(self, op: Op, counts: Sequence[int]) -> None:
        where = self._source(Source(op.name, op.node))
        for count, (name, bound) in zip(counts, op.binds.items(), strict=True):
            self._add(Instruction("Bind", where, args=(count,), symbol=name, bound=bound))

    def _random_key(self, op: Op) -> None:
        where = self._source(Source("random_key", op.node))
        result = (self._result(op.result),)
        attrs = op.attrs
        self._add(
            Instruction("Draw", where, args=result, stream=attrs["stream"], seed=attrs["seed"])
        )

    def _kernel(self, op: Op) -> None:
        results = [self._result(v) for v in op.results]
        if op in self._aliases.idle:
            self._check_inner_sizes(op)
            return
        spec = kernel_spec(op)
        number = self._kernels.setdefault(spec.key, len(self.specs))
        if number == len(self.specs):
            self.specs.append(spec)
            self._overwritable.append(overwritable(op))
        ops = "+".join(self._check_inner_sizes(op))
        source = Source(ops, op.node, class_of(op), form_of(op))
        inputs = [self.tensors[v] for v in op.operands]
        overwrites = tuple(
            (results[0], inputs[place])
            for place in self._overwritable[number]
            if [root_of(v) for v in op.operands].count(root_of(op.operands[place])) == 1
        )
        launch = self._add(
            Instruction(
                "Launch",
                self._source(source),
                kernel=number,
                args=(*inputs, *results),
                dims=tuple(symbol(name) for name in spec.symbols),
                cost=nanoseconds(op),
                operations=operations(op),
                moved=bytes_moved(op),
                results=len(results),
                overwrites=overwrites,
            )
        )
        self.launches[launch] = op

    def _check_inner_sizes(self, kernel: Op) -> list[str]:
        """Notes what the ops of a kernel assume about sizes; gives their names."""
        for inner in kernel.members:
            self._check_sizes(inner)
        return [inner.name for inner in kernel.members]

    def _if(self, op: Op) -> None:
        where = Source("if", op.node)
        results = [self._result(v) for v in op.results]
        condition = self.tensors[op.operands[0]]
        branch = self._add(Instruction("JumpIfFalse", self._source(where), args=(condition,)))
        then, other = op.blocks
        self._block(then)
        for value, result in zip(then.yields, results, strict=True):
            self._copy(self.tensors[value], result, where)
        leave = self._add(Instruction("Jump", self._source(where)))
        self.plan.instructions[branch].target = len(self.plan.instructions)
        self._block(other)
        for value, result in zip(other.yields, results, strict=True):
            self._copy(self.tensors[value], result, where)
        self.plan.instructions[leave].target = len(self.plan.instructions)

    def _carry(self, op: Op, values: Sequence[Value], results: Sequence[Value]) -> list[int]:
        """Memory of loop-carried values, filled with what the loop starts from."""
        carried = [self._result(v) for v in results]
        for value, number in zip(values, carried, strict=True):
            self._copy(self.tensors[value], number, Source(op.name, op.node))
        return carried

    def _advance(
        self, op: Op, block: Block, yields: Sequence[Value], carried: Sequence[int]
    ) -> None:
        """Copies a body's results to the carried memory, by way of spare memory if need be."""
        where = Source(op.name, op.node)
        arguments = set(block.arguments)
        moves = []
        for value, number in zip(yields, carried, strict=True):
            source = self.tensors[value]
            if source == number:
                continue
            if root_of(value) in arguments:
                spare = self._new(value.type, "Arena", value.label)
                self._copy(source, spare, where)
                source = spare
            moves.append((source, number))
        for source, number in moves:
            self._copy(source, number, where)

    def _while(self, op: Op) -> None:
        where = self._source(Source("while", op.node))
        carried = self._carry(op, op.operands, op.results)
        condition, body = op.blocks
        start = len(self.plan.instructions)
        self.tensors.update(zip(condition.arguments, carried, strict=True))
        self._block(condition)
        test = self.tensors[condition.yields[0]]
        branch = self._add(Instruction("JumpIfFalse", where, args=(test,)))
        self.tensors.update(zip(body.arguments, carried, strict=True))
        self._block(body)
        self._advance(op, body, body.yields, carried)
        self._add(Instruction("Jump", where, target=start))
        self.plan.instructions[branch].target = len(self.plan.instructions)

    def _scan(self, op: Op) -> None:
        count = op.attrs["carries"]
        where = self._source(Source("scan", op.node))
        carried = self._carry(op, op.operands[:count], op.results[:count])
        stacked = [self._result(v) for v in op.results[count:]]
        trip = op.operands[count].type.shape[0]
        loop = self.plan.loops
        self.plan.loops += 1
        begin = self._add(Instruction("LoopBegin", where, loop=loop, trip=trip))
        leave = None
        if op.attrs["conditional"]:
            leave = self._add(Instruction("JumpIfFalse", where, args=(carried[0],)))
        (body,) = op.blocks
        self.tensors.update(zip(body.arguments[:count], carried, strict=True))
        for value, argument in zip(op.operands[count:], body.arguments[count:], strict=True):
            whole = self.tensors[value]
            self.tensors[argument] = self._row(op, whole, argument.type, loop)
        self._block(body)
        for value, whole in zip(body.yields[count:], stacked, strict=True):
            row = self._row(op, whole, value.type, loop)
            self._copy(self.tensors[value], row, Source("scan", op.node))
        self._advance(op, body, body.yields[:count], carried)
        end = self._add(Instruction("LoopEnd", where, loop=loop, trip=trip, target=begin + 1))
        self.plan.instructions[begin].target = end + 1
        if leave is not None:
            self.plan.instructions[leave].target = end + 1

    def _row(self, scan: Op, whole: int, tensor: TensorType, loop: int) -> int:
        """The slice of a tensor that belongs to the current step of a scan."""
        backwards = scan.attrs["reverse"]
        trip = scan.operands[scan.attrs["carries"]].type.shape[0]
        number = self._view(whole, tensor)
        row = self.plan.tensors[number]
        if row.loop != -1:
            why = "a scan over a slice of another scan"
            self.refused.append(BiremeError("BM3004", why, where=scan.node))
        row.loop = loop
        row.loop_stride = tensor.bytes * (-1 if backwards else 1)
        if backwards:
            row.view_offset = row.view_offset + tensor.bytes * (trip - 1)
        return number
