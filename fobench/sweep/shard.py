"""Splitting a sweep among machines."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """One of `count` shares of a sweep, numbered from 1."""

    number: int
    count: int

    def holds(self, block: int) -> bool:
        """Whether the block of that number, counted from 0, belongs to this share."""
        return block % self.count == self.number - 1


WHOLE = Shard(1, 1)
