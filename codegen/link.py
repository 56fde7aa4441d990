"""Links kernel objects into one position-independent code image, without a linker.

Kernels are compiled as position-independent code that refers only to itself, to its own constants
and to a few functions of the C library. Their sections are laid out one after another and every
reference is resolved here, so the loader has nothing left to do but to fill a table of imported
functions (docs/artefact.md). Relocation formulas are those of the System V ABI, AMD64 supplement,
table 4.9.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection

from bireme.ir import BiremeError

PAGE = 4096
_ALIGNMENT = 64
_ALLOCATED, _WRITABLE = 0x2, 0x1

_PC32, _PLT32, _GOTPCREL, _GOTPCRELX, _REX_GOTPCRELX, _PC64 = 2, 4, 9, 41, 42, 24
_THROUGH_TABLE = {_GOTPCREL, _GOTPCRELX, _REX_GOTPCRELX}
# jmp *[rip + disp32], then padding: how a direct call reaches an imported function.
_STUB = b"\xff\x25\x00\x00\x00\x00\xcc\xcc"


@dataclass(frozen=True)
class Image:
    """Linked code: bytes (whole pages), where its import table starts, and each kernel's entry."""

    code: bytes
    import_offset: int
    imports: tuple[str, ...]
    entries: tuple[int, ...]


@dataclass
class _Layout:
    code: bytearray = field(default_factory=bytearray)
    stubs: dict[str, int] = field(default_factory=dict)
    imports: dict[str, int] = field(default_factory=dict)
    # (place, kind, symbol or address, addend): references to patch once everything has an address
    pending: list[tuple[int, int, str | int, int]] = field(default_factory=list)

    def append(self, data: bytes, alignment: int) -> int:
        self.code += b"\xcc" * (-len(self.code) % alignment)
        start = len(self.code)
        self.code += data
        return start


def link(objects: Sequence[bytes], entry: str = "kernel") -> Image:
    """One image from the objects; each defines the function `entry`. Raises BM3005."""
    layout = _Layout()
    entries = tuple(_place(layout, data, entry) for data in objects)
    for _, kind, target, _ in layout.pending:
        if isinstance(target, str):
            layout.imports.setdefault(target, len(layout.imports))
            if kind not in _THROUGH_TABLE and target not in layout.stubs:
                layout.stubs[target] = layout.append(_STUB, 16)
    layout.code += b"\xcc" * (-len(layout.code) % PAGE)
    table = len(layout.code)
    slots = {name: table + 8 * i for name, i in layout.imports.items()}
    for name, stub in layout.stubs.items():
        struct.pack_into("<i", layout.code, stub + 2, slots[name] - (stub + 6))
    for place, kind, target, addend in layout.pending:
        _patch(layout, place, kind, target, addend, slots)
    table_bytes = -(-8 * len(slots) // PAGE) * PAGE
    code = bytes(layout.code) + bytes(table_bytes)
    return Image(code, table, tuple(layout.imports), entries)


def _place(layout: _Layout, data: bytes, entry: str) -> int:
    """Lays out one object's sections and notes its references; gives the entry's address."""
    elf = ELFFile(io.BytesIO(data))
    placed: dict[int, int] = {}
    for number, section in enumerate(elf.iter_sections()):
        flags = section["sh_flags"]
        if not flags & _ALLOCATED or section["sh_size"] == 0 or section.name == ".eh_frame":
            continue
        if flags & _WRITABLE and section["sh_type"] != "SHT_PROGBITS":
            raise BiremeError("BM3005", f"a kernel has writable data in section {section.name}")
        alignment = max(_ALIGNMENT, section["sh_addralign"])
        placed[number] = layout.append(section.data(), alignment)
    address: int | None = None
    for section in elf.iter_sections():
        if isinstance(section, RelocationSection) and section["sh_info"] in placed:
            _collect(layout, elf, section, placed)
    symbols = elf.get_section_by_name(".symtab")
    for symbol in symbols.iter_symbols():
        if symbol.name == entry and symbol["st_shndx"] in placed:
            address = placed[symbol["st_shndx"]] + symbol["st_value"]
    if address is None:
        raise BiremeError("BM3005", f"an object does not define {entry!r}")
    return address


def _collect(
    layout: _Layout, elf: ELFFile, section: RelocationSection, placed: Mapping[int, int]
) -> None:
    symbols = elf.get_section(section["sh_link"])
    base = placed[section["sh_info"]]
    for relocation in section.iter_relocations():
        symbol = symbols.get_symbol(relocation["r_info_sym"])
        home = symbol["st_shndx"]
        if home == "SHN_UNDEF":
            target: str | int = symbol.name
        elif home in placed:
            target = placed[home] + symbol["st_value"]
        else:
            raise BiremeError("BM3005", f"a kernel refers to {symbol.name!r}, which is not kept")
        place = base + relocation["r_offset"]
        layout.pending.append((place, relocation["r_info_type"], target, relocation["r_addend"]))


def _patch(
    layout: _Layout, place: int, kind: int, target: str | int, addend: int, slots: Mapping[str, int]
) -> None:
    if kind in _THROUGH_TABLE and isinstance(target, str):
        address = slots[target]
    elif kind in (_PC32, _PLT32, _PC64):
        address = layout.stubs[target] if isinstance(target, str) else target
    else:
        raise BiremeError(
            "BM3005", f"a kernel has a reference of kind {kind}, which needs a linker"
        )
    value = address + addend - place
    struct.pack_into("<q" if kind == _PC64 else "<i", layout.code, place, value)
