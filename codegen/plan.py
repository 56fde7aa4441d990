"""Fused graph → plan: tensors with places, a flat list of instructions, and every size as a scalar.

The plan here is plain data; `bireme.codegen.artefact` writes it down in the layout that
docs/artefact.md describes. Names of enum values are those of `runtime/schema/model.fbs`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bireme.ir import Array, Dim, DType, SymbolRange


@dataclass
class Tensor:
    """A row of the tensor table. `bytes`, `view_offset` and `loop_stride` may be symbolic.

    `capacity` is what to reserve where the data decides `bytes`, else None.
    """

    dtype: DType
    shape: tuple[Dim, ...]
    bytes: Dim
    place: str
    name: str = ""
    offset: int = 0
    after: tuple[int, ...] = ()
    base: int = 0
    view_offset: Dim = 0
    loop: int = -1
    loop_stride: Dim = 0
    capacity: Dim | None = None

    @property
    def reserved(self) -> Dim:
        """Bytes of memory that it takes up."""
        return self.bytes if self.capacity is None else self.capacity


@dataclass(frozen=True)
class Version:
    """Another way to do a launch, for the sizes at which every guard holds (size, its value).

    It takes the launch's arguments and dims. `workspace` is in bytes; for `phase` see `Work`.
    """

    kernel: int
    guards: tuple[tuple[Dim, int], ...]
    tasks: Dim
    workspace: Dim
    phase: Dim


@dataclass
class Instruction:
    """A row of the instruction list; `target` is an instruction's number, `symbol` what a Bind
    binds, to at most `bound`; `stream` and `seed` are what a Draw draws from.
    """

    op: str
    source: int = 0
    kernel: int = 0
    args: tuple[int, ...] = ()
    dims: tuple[Dim, ...] = ()
    tasks: Dim = 0
    cost: Dim = 0
    workspace: Dim = 0
    phase: Dim = 0
    target: int = 0
    loop: int = 0
    trip: Dim = 0
    # (result, operand) tensors of a launch: the result may take over the operand's memory.
    overwrites: tuple[tuple[int, int], ...] = ()
    # The first whose guards hold is launched instead.
    versions: tuple[Version, ...] = ()
    symbol: str = ""
    bound: Dim = 0
    stream: int = 0
    seed: int = 0
    # What a launch does, for profiles: arithmetic operations, bytes read and written, and how many
    # of `args`, the last ones, it writes.
    operations: Dim | None = None
    moved: Dim | None = None
    results: int = 1

    @property
    def written(self) -> tuple[int, ...]:
        """The tensors that it gives a value to."""
        if self.op == "Launch":
            return self.args[len(self.args) - self.results :]
        return {"Copy": self.args[1:], "Draw": self.args}.get(self.op, ())


@dataclass(frozen=True)
class Source:
    """What an instruction does and the model's own names of it; for profiles its class and size
    (`bireme.codegen.classes`).
    """

    op: str
    node: str
    kind: str = ""
    form: str = ""


@dataclass(frozen=True)
class SizeCheck:
    """Two sizes that must turn out equal."""

    a: Dim
    b: Dim
    source: int


@dataclass
class Plan:
    """Everything an artefact says besides code and weights.

    `bounds` has the symbols that are bound while the plan runs, `equal` pairs of sizes that are the
    same where it goes on.
    """

    model: str
    symbols: dict[str, SymbolRange]
    bounds: dict[str, Dim] = field(default_factory=dict)
    equal: list[tuple[Dim, Dim]] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    checks: list[SizeCheck] = field(default_factory=list)
    loops: int = 0
    arena_order: list[int] = field(default_factory=list)
    arena_bytes: int = 0
    arena_lower_bound: int = 0
    # Arrays of the Weight tensors, by tensor number.
    weights: dict[int, Array] = field(default_factory=dict)
