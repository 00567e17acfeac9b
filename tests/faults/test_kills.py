"""A run killed at any moment and resumed ends as one left alone, bit for bit."""

import pytest

from tests.faults import kills
from tests.faults.kills import METHODS, NETWORKS, launching, soak


def require_the_same_end(tmp_path, count: int, seed: int) -> kills.Tally:
    with launching(tmp_path) as launcher:
        tally = soak(tmp_path, launcher, count, seed, list(NETWORKS))
    assert tally.differences == []
    assert tally.kills >= count
    assert tally.runs == tally.sweeps * len(METHODS)
    return tally


def test_about_ten_kills(tmp_path):
    """All methods of all networks: each network's sweep is killed until it is through."""
    tally = require_the_same_end(tmp_path, count=10, seed=0)
    assert tally.resumes > 0


@pytest.mark.slow
def test_two_hundred_kills_at_every_phase(tmp_path):
    tally = require_the_same_end(tmp_path, count=200, seed=1)
    assert tally.resumes >= 50
    assert {"before the first freeze", "between freezes", "in the last epoch or after it"} <= set(
        tally.moments
    )


def test_every_method_and_network_is_in_the_table():
    from fobench.config import METHODS as KNOWN
    from fobench.models.families import FAMILIES

    assert {table.split('"')[1] for table in METHODS.values()} == set(KNOWN)
    assert set(NETWORKS) == set(FAMILIES)
