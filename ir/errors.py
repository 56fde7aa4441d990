"""Every error a user can meet while a model is built, imported, optimised or compiled.

One table gives each code its meaning and hint; `docs/errors.md` is generated from it (the runtime's
own codes, BM4xxx and BM5xxx, stand in `runtime/errors.def`). Codes are never reused or renumbered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def counted(count: int, singular: str, plural: str = "") -> str:
    """A number and its noun, for messages: `1 entry`, `2 entries`."""
    return f"{count} {singular if count == 1 else plural or singular + 's'}"


@dataclass(frozen=True)
class ErrorKind:
    """One row of the error table: what the code means and what a user can do about it."""

    code: str
    meaning: str
    hint: str


def _table(*rows: tuple[str, str, str]) -> dict[str, ErrorKind]:
    table = {code: ErrorKind(code, meaning, hint) for code, meaning, hint in rows}
    assert len(table) == len(rows), "an error code is listed twice"
    return table


ERRORS: dict[str, ErrorKind] = _table(
    # 1xxx: reading a model
    ("BM1001", "the file is not a readable ONNX model", "check that the download is complete"),
    ("BM1002", "the model needs a newer opset or IR version", "export it with an older opset"),
    ("BM1003", "the model has operators that are not supported", "run `bireme check` for the list"),
    (
        "BM1004",
        "external data is missing, too short or outside the model's folder",
        "keep the data file beside the model",
    ),
    ("BM1005", "the graph is malformed", "run onnx.checker.check_model on the file"),
    (
        "BM1006",
        "an operator's attribute or input has a value that is not allowed",
        "compare with the operator's ONNX specification",
    ),
    (
        "BM1007",
        "a shape or parameter must be known when the model is compiled",
        "give it with --constant NAME=FILE.npy or fold it into the model",
    ),
    ("BM1008", "a Python model could not be traced", "look at the line named in the message"),
    ("BM1009", "a state dict does not fit the module", "compare the names and shapes listed"),
    # 2xxx: the IR
    ("BM2001", "an op has the wrong number of operands", "see docs/ops.md for the op's signature"),
    (
        "BM2002",
        "an op's attribute is missing, unknown or of the wrong type",
        "see docs/ops.md for the op's attributes",
    ),
    ("BM2003", "an op does not take this element type", "insert a cast"),
    ("BM2004", "shapes do not fit", "look at the value named in the message"),
    (
        "BM2005",
        "an op's declared result differs from what its type rule gives",
        "rebuild the op with the builder",
    ),
    (
        "BM2006",
        "a dimension expression cannot be read",
        "use integers, names and + - * // % min max",
    ),
    ("BM2007", "a symbol has no value", "give the size with --dim NAME=SIZE"),
    ("BM2008", "text is not a valid bireme module", "look at the line named in the message"),
    ("BM2009", "a named weight is missing or of another type", "save the weights with the module"),
    ("BM2010", "a name is used twice", "give every input and every output a name of its own"),
    (
        "BM2011",
        "a size that the data decides is used where it has no value",
        "bind it once, before its uses; what a branch or a loop's body binds cannot leave it",
    ),
    ("BM2012", "a size is too complicated", "give the sizes of the inputs with --dim NAME=SIZE"),
    # 3xxx: passes, code generation, targets
    ("BM3001", "an unknown pass or pass option was named", "see docs/passes.md for the list"),
    ("BM3002", "a pass left the IR in an invalid state", "report it with the dumped IR"),
    ("BM3003", "the target is not known", "run `bireme devices` for the list"),
    (
        "BM3004",
        "no kernel can be generated for an op",
        "write it with other operators, or compile for another target",
    ),
    ("BM3005", "the backend compiler failed", "report it with the kernel named in the message"),
    ("BM3006", "the output file could not be written", "check the folder's permissions and space"),
    ("BM3007", "the kernel cache is unusable", "delete the cache folder or name another"),
    # 6xxx: the command line
    ("BM6001", "a file could not be read", "check the path and its permissions"),
    ("BM6002", "an option has an invalid value", "see --help"),
    ("BM6003", "inputs do not fit the model", "run `bireme inspect` for names, types and shapes"),
    (
        "BM6004",
        "a package that an option needs is not installed",
        "install it beside Bireme, or leave the option out",
    ),
    (
        "BM6005",
        "a file of tuning records has a line that is not a record",
        "remove the line, or merge the databases again with `bireme tune --merge`",
    ),
    (
        "BM6006",
        "nothing could be measured on the device",
        "run the artefact there with `bireme run`",
    ),
    (
        "BM6007",
        "the limits of this machine cannot be measured",
        "profile on a processor that `bireme devices` lists a target for",
    ),
    (
        "BM6008",
        "a file is no result of a tuning bundle",
        "run the bundle's `run.sh` on the device, and take in the results.jsonl that it writes",
    ),
)


class BiremeError(Exception):
    """An error with a stable code, the model's own name for the place, and a hint.

    `code` is a key of `ERRORS`; `where` names the node, value, file or option; `detail` says what
    was expected and what was found.
    """

    def __init__(self, code: str, detail: str, *, where: str = "", hint: str = "") -> None:
        self.kind = ERRORS[code]
        self.code = code
        self.detail = detail
        self.where = where
        self.hint = hint or self.kind.hint
        super().__init__(self._text())

    @property
    def parts(self) -> Sequence[BiremeError]:
        """The errors that this one stands for: itself, or those given to `together`."""
        return (self,)

    def at(self, where: str) -> BiremeError:
        """The same error placed at `where`, unless it already names a place."""
        if self.where:
            return self
        return BiremeError(self.code, self.detail, where=where, hint=self.hint)

    def _text(self) -> str:
        place = f" at {self.where}" if self.where else ""
        return f"{self.code}{place}: {self.kind.meaning}: {self.detail} (hint: {self.hint})"


class SeveralErrors(BiremeError):
    """Errors that were found at once; `parts` are they."""

    def __init__(self, parts: Sequence[BiremeError]) -> None:
        self._parts = tuple(parts)
        lines = "".join(
            f"\n  {p.code + ' at ' if p.code != parts[0].code else ''}{p.where}: {p.detail}"
            for p in parts
        )
        hints = {p.hint for p in parts}
        super().__init__(
            parts[0].code,
            f"{counted(len(parts), 'place')}:{lines}",
            hint=hints.pop() if len(hints) == 1 else "",
        )

    @property
    def parts(self) -> Sequence[BiremeError]:
        return self._parts

    def at(self, where: str) -> BiremeError:  # noqa: ARG002 - each part has a place of its own
        return self


def together(errors: Iterable[BiremeError]) -> BiremeError:
    """One error for all of `errors`, each place and detail named once; at least one is needed."""
    parts = [part for error in errors for part in error.parts]
    distinct = list({(p.code, p.where, p.detail): p for p in parts}.values())
    return distinct[0] if len(distinct) == 1 else SeveralErrors(distinct)
