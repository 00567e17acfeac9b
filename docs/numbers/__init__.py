"""The numbers and tables in the pages, computed from the committed files.

`make docs` writes them into the pages; a test compares.
"""

from docs.numbers import (
    benchmarks,
    cifar100,
    clock,
    elsewhere,
    fifty_epochs,
    gpu,
    predictions,
    quick,
    snapshots,
    stores,
    timed,
    verdicts,
)

PARTS = (
    fifty_epochs,
    timed,
    cifar100,
    clock,
    verdicts,
    stores,
    snapshots,
    elsewhere,
    quick,
    benchmarks,
    predictions,
    gpu,
)


def shown() -> dict[str, str]:
    """What stands in each place of the pages, by its name."""
    return {name: text for part in PARTS for name, text in part.shown().items()}
