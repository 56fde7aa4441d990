"""Which kernel gets the next batch of candidates: the one with most time to save.

What a kernel may still save is its time in a run times a guess of the share that better parameters
would take off. The guess starts the same for all, is renewed by every gain and halved by every
batch without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

# The share that a kernel nobody has tuned yet may save.
_FIRST_GUESS = 0.2
_DECAY = 0.5


@dataclass(frozen=True)
class Prospect:
    """A kernel's time in a run of the model, in nanoseconds, and the share it may still save."""

    nanoseconds: float
    share: float = _FIRST_GUESS

    @property
    def saving(self) -> float:
        """Nanoseconds of a run that better parameters may save."""
        return self.nanoseconds * self.share

    def after(self, gained: float) -> Prospect:
        """The prospect after a batch that took the share `gained` off the kernel's time."""
        share = max(self.share * _DECAY, gained)
        return replace(self, nanoseconds=self.nanoseconds * (1 - gained), share=share)

    def exhausted(self) -> Prospect:
        """The prospect of a kernel whose every candidate was tried."""
        return replace(self, share=0.0)


def next_kernel(prospects: Mapping[int, Prospect]) -> int | None:
    """The kernel with the largest saving, of equals the first; None where nothing is left."""
    if not prospects:
        return None
    best = max(sorted(prospects), key=lambda kernel: prospects[kernel].saving)
    return best if prospects[best].saving > 0 else None
