"""What machine this is, as far as the operating system tells."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
# What identifies a processor in /proc/cpuinfo: names alone are often those of a whole family.
_IDENTITY = ("vendor_id", "cpu family", "model", "model name", "stepping")
# Where the system does not say: caches as small as those of today's processors are.
_USUAL_CACHES = (("L1", 32 << 10), ("L2", 512 << 10), ("L3", 8 << 20))
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Machine:
    """A processor: its name, what tells it from others, and its data caches, the smallest first,
    as (name, bytes that one core can use).
    """

    cpu: str
    identity: str
    caches: tuple[tuple[str, int], ...]


def this_machine() -> Machine:
    """The machine that this process runs on."""
    fields = _cpuinfo()
    name = fields.get("model name") or platform.processor() or "unknown"
    caches = _caches() or _USUAL_CACHES
    parts = [platform.machine(), *(fields.get(key, "") for key in _IDENTITY)]
    return Machine(name, "/".join([*parts, *(f"{c}={size}" for c, size in caches)]), caches)


def _cpuinfo() -> dict[str, str]:
    """The fields of the first processor."""
    fields: dict[str, str] = {}
    for line in _text(_CPUINFO).splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return fields


def _caches() -> tuple[tuple[str, int], ...]:
    found: dict[int, int] = {}
    for folder in sorted(_CACHES.glob("index*")):
        level, size = _text(folder / "level").strip(), _text(folder / "size").strip()
        if _text(folder / "type").strip() == "Instruction" or not level or not size:
            continue
        found[int(level)] = int(size.rstrip("KMG")) * _UNITS.get(size[-1], 1)
    return tuple((f"L{level}", size) for level, size in sorted(found.items()))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
