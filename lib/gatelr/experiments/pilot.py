"""Which seeds were looked at while the rules were made, and which decide."""

from __future__ import annotations

#: Seeds before this one were the pilot, since thresholds and smallest effects were chosen when they had been seen.
FIRST_SEED = 21


def deciding(seeds: int) -> tuple[int, ...]:
    """So many seeds of those that had not been run when the rules of judgement were written."""
    return tuple(range(FIRST_SEED, FIRST_SEED + seeds))
