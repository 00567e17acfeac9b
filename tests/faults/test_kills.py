"""A run killed at any moment and resumed ends as one left alone, bit for bit."""

import pytest

import fobench.methods
import fobench.models
from tests.faults import kills
from tests.faults.kills import METHODS, NETWORKS, PHASES, all_sweeps, launching, soak


def require_the_same_end(tmp_path, count: int, seed: int, sweeps: dict, resumed=()) -> kills.Tally:
    with launching(tmp_path) as launcher:
        tally = soak(tmp_path, launcher, count, seed, sweeps, resumed)
    assert tally.differences == []
    assert tally.kills >= count
    assert tally.resumes > 0
    return tally


def test_a_few_kills(tmp_path):
    """Two methods of one network, of which one has a store."""
    (name,) = (
        name
        for name, sweep in all_sweeps().items()
        if sweep[0] == "wideresnet" and "stored" in sweep[1]
    )
    network, methods = all_sweeps()[name]
    require_the_same_end(tmp_path, 2, 0, {name: (network, methods[1:3])})


@pytest.mark.slow
def test_kills_of_all_methods_and_networks(tmp_path):
    """Each method with one of the networks."""
    names = [f"{network}-{share}" for share, network in enumerate(NETWORKS)]
    require_the_same_end(tmp_path, 6, 0, {name: all_sweeps()[name] for name in names})


@pytest.mark.slow
def test_two_hundred_kills_at_every_phase(tmp_path):
    """All methods of all networks."""
    every = {f"{network}, {phase}" for network in NETWORKS for phase in PHASES}
    tally = require_the_same_end(tmp_path, 200, 1, all_sweeps(), every)
    assert every <= set(tally.resumed)
    assert tally.resumed_with_store > 0


def test_every_method_and_network_is_in_the_table():
    assert {table.split('"')[1] for table in METHODS.values()} == set(fobench.methods.METHODS)
    assert set(NETWORKS) == set(fobench.models.FAMILIES)
