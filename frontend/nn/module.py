"""Modules: parameters, submodules and a `forward`. Assigning an attribute registers it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from bireme.frontend.nn.dispatch import SCOPE, TRACER, Scope, place
from bireme.frontend.nn.tensor import Tensor
from bireme.frontend.nn.variable import Buffer, Parameter, Variable
from bireme.ir import Array, BiremeError, DType

M = TypeVar("M", bound="Module")


class Module:
    """Base class of models and layers.

    Subclasses assign parameters, buffers and submodules to attributes and define `forward`; the
    attribute's name is the name in the state dict. There is no need to call `super().__init__()`.
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes. Call the module itself, not this."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs `forward`. Arrays become tensors; errors name the module and the line."""
        scope = SCOPE.get()
        if scope is None:
            token = SCOPE.set(Scope({id(m): name for name, m in self.named_modules()}))
            try:
                return self(*[_wrap(a) for a in args], **{k: _wrap(v) for k, v in kwargs.items()})
            finally:
                SCOPE.reset(token)
        # A module that is nobody's attribute goes by the name of the one that calls it.
        caller = scope.running[-1] if scope.running else ""
        scope.running.append(scope.paths.get(id(self), caller))
        try:
            return self.forward(*args, **kwargs)
        except BiremeError:
            raise
        except Exception as error:
            if TRACER.get() is None:
                raise
            detail = f"{type(error).__name__}: {error}"
            raise BiremeError("BM1008", detail, where=place(error.__traceback__)) from error
        finally:
            scope.running.pop()

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, (list, tuple, dict)):
            items = value.values() if isinstance(value, dict) else value
            if any(isinstance(v, (Module, Variable)) for v in items):
                raise BiremeError(
                    "BM1008",
                    f"{name!r} is a plain {type(value).__name__} of modules or parameters, "
                    "which would be missing from the state dict",
                    where=place(),
                    hint="use nn.ModuleList or nn.Sequential, or assign each to an attribute",
                )
        super().__setattr__(name, value)

    # --- what it holds ----------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct submodules by attribute name."""
        return ((k, v) for k, v in vars(self).items() if isinstance(v, Module))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yields this module (under the name `prefix`) and all below it, each once."""
        yield from self._modules(prefix, set())

    def _modules(self, prefix: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, child in self.named_children():
            yield from child._modules(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def _variables(self, prefix: str = "") -> Iterator[tuple[str, Variable]]:
        """All variables by state-dict name; one that has two names comes twice."""
        for name, value in vars(self).items():
            if isinstance(value, Variable):
                yield prefix + name, value
        for name, child in self.named_children():
            yield from child._variables(f"{prefix}{name}.")

    def named_variables(self) -> Iterator[tuple[str, Variable]]:
        """Parameters and buffers, each once, by the first of its names."""
        seen: set[int] = set()
        for name, value in self._variables():
            if id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        return ((k, v) for k, v in self.named_variables() if isinstance(v, Parameter))

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        return ((k, v) for k, v in self.named_variables() if isinstance(v, Buffer))

    def parameters(self) -> Iterator[Parameter]:
        return (p for _, p in self.named_parameters())

    def parameter_count(self) -> int:
        """Number of learnt values; nothing is drawn to count them."""
        return sum(int(np.prod(p.type.static_shape)) for p in self.parameters())

    def astype(self: M, dtype: Any) -> M:
        """Casts every floating-point variable, in place; gives the module itself."""
        for _, variable in self.named_variables():
            if variable.dtype.is_float:
                variable.cast(dtype)
        return self

    # --- state dicts ------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Array]:
        """Arrays (not copies) of parameters and persistent buffers by name."""
        return {name: variable.data for name, variable in self._state()}

    def _state(self) -> Iterator[tuple[str, Variable]]:
        return (
            (name, v)
            for name, v in self._variables()
            if not (isinstance(v, Buffer) and not v.persistent)
        )

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Takes arrays by name, without a copy where the type fits; floats are cast.

        Nothing is changed unless all fits. Raises BM1009 with every missing, unexpected and
        mis-shaped entry; `strict=False` lets entries be missing or unexpected.
        """
        own = dict(self._state())
        faults: list[str] = []
        if strict:
            faults += [f"missing: {k} ({own[k].type})" for k in own if k not in state]
            faults += [f"unexpected: {k}" for k in state if k not in own]
        fitting: list[tuple[Variable, Array]] = []
        for name, variable in own.items():
            if name not in state:
                continue
            array = np.asarray(state[name])
            wanted = variable.type
            same_kind = DType.of(array) is wanted.dtype or (
                DType.of(array).is_float and wanted.dtype.is_float
            )
            if array.shape != wanted.shape or not same_kind:
                found = f"{array.dtype}[{', '.join(map(str, array.shape))}]"
                faults.append(f"mis-shaped: {name} expected {wanted}; found {found}")
                continue
            fitting.append((variable, array.astype(wanted.dtype.numpy, copy=False)))
        if faults:
            where = type(self).__name__
            raise BiremeError("BM1009", "\n  ".join(["", *faults]).rstrip(), where=where)
        for variable, array in fitting:
            variable.data = array

    # --- printing ---------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """Arguments shown in the module's text; layers say theirs."""
        return ""

    def __repr__(self) -> str:
        children = [f"({name}): {child!r}" for name, child in self.named_children()]
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        inner = "\n".join(children).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {inner}\n)"


class Layer(Module):
    """A module from one tensor to one tensor, so that type checkers know what a call gives."""

    if TYPE_CHECKING:

        def __call__(self, x: Any) -> Tensor: ...


def _wrap(value: Any) -> Any:
    return Tensor(value) if isinstance(value, (np.ndarray, np.generic)) else value


class ModuleList(Module):
    """Modules in a list; their names are 0, 1, ..."""

    def __init__(self, modules: Sequence[Module] = ()) -> None:
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> None:
        setattr(self, str(len(self)), module)

    def __len__(self) -> int:
        return sum(1 for _ in self.named_children())

    def __iter__(self) -> Iterator[Module]:
        return (child for _, child in self.named_children())

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self, index: slice) -> list[Module]: ...

    def __getitem__(self, index: int | slice) -> Module | list[Module]:
        return list(self)[index]


class Sequential(ModuleList, Layer):
    """Modules run one after another. Made from modules, or from a mapping of names to modules."""

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        for module in modules:
            if isinstance(module, Module):
                self.append(module)
                continue
            for name, named in module.items():
                setattr(self, name, named)

    def forward(self, x: Any) -> Any:
        """Feeds each module what the one before gave."""
        for module in self:
            x = module(x)
        return x
