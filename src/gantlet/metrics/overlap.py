"""Are the fakes the reals? What must be said loudly before any score is read."""

from __future__ import annotations

import hashlib

from gantlet.data.dataset import to_uint
from gantlet.metrics.sources import Source, batches_of, sum_up

LOUD = 0.01  # share of fakes that are also in the reference, to the last bit


def _prints(source: Source) -> frozenset[bytes]:
    """A hash of each sample's numbers, of an image's 8-bit pixels."""

    def make(source: Source) -> frozenset[bytes]:
        found: set[bytes] = set()
        for rows in batches_of(source):
            x = to_uint(rows.x) if rows.x.ndim == 4 else rows.x
            found.update(hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in x.cpu().numpy())
        return frozenset(found)

    return sum_up(source, "prints", make, lambda parts: frozenset().union(*parts))


def content_of(source: Source) -> str:
    """16 hex digits of what is in a set, wherever it lies and in whatever order."""
    return hashlib.blake2b(b"".join(sorted(_prints(source))), digest_size=8).hexdigest()


def overlap_warnings(real: Source, fake: Source, held_out: Source | None = None) -> list[str]:
    """Sentences for sets that are the same or share samples; reals that are held out count as reals."""
    reals, fakes = _prints(real), _prints(fake)
    reals |= _prints(held_out) if held_out is not None else frozenset()
    share = len(reals & fakes) / len(fakes)
    if share == 1 and len(reals) == len(fakes):
        return ["THE TWO SETS ARE THE SAME: every score below compares the data with itself"]
    if share == 1:
        return ["EVERY FAKE IS ONE OF THE REALS, bit for bit: these are copies, not samples"]
    if share > LOUD:
        return [f"{share:.1%} of the fakes are among the reals bit for bit: copies score too well"]
    return []
