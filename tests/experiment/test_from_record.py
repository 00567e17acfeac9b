"""Recorded runs are read back with the options of today."""

import pytest

from fobench.errors import UserError
from fobench.evidence.results import known_methods
from fobench.experiment.from_record import method_of, variant
from fobench.methods import FreezeOutOptions
from tests.evidence.test_stats import result


def test_options_younger_than_the_record_have_their_defaults():
    record = result("freezeout", 0, 80, 31).record
    assert method_of(record) == FreezeOutOptions(scaling="cubic", t0=0.8)


def test_a_run_recorded_before_an_option_of_the_data_was_added_is_of_the_same_variant():
    older, newer, shuffled = (result("baseline", 0, 100, 30).record for _ in range(3))
    older["run"]["data"] = {"augment": "none"}
    newer["run"]["data"] = {"augment": "none", "shuffle": False}
    shuffled["run"]["data"] = {"augment": "none", "shuffle": True}
    assert variant(older) == variant(newer) != variant(shuffled)


def test_a_run_recorded_before_an_option_with_a_list_was_added_is_of_the_same_variant():
    older, newer, other = (result("baseline", 0, 100, 30).record for _ in range(3))
    newer["run"]["train"] = {**older["run"]["train"], "betas": [0.9, 0.999]}
    other["run"]["train"] = {**older["run"]["train"], "betas": [0.9, 0.99]}
    assert variant(older) == variant(newer) != variant(other)


def test_a_network_of_a_file_is_the_same_wherever_the_file_lies():
    """As run ids are: of what files hold, not of their places."""
    here, moved, other = (result("baseline", 0, 100, 30).record for _ in range(3))
    model = {"name": "./net.py:Net", "file_sha256": "a", "weights": "w.pt", "weights_sha256": "b"}
    here["run"]["model"] = model
    moved["run"]["model"] = {**model, "name": "/nets/net.py:Net", "weights": "/w.pt"}
    moved["run"]["model"]["units"] = "auto"  # an option younger than the first record
    other["run"]["model"] = {**model, "weights_sha256": "c"}
    assert variant(here) == variant(moved) != variant(other)


@pytest.mark.parametrize("method", [{"name": "of the future"}, {}, {"name": "baseline", "x": 1}])
def test_a_method_that_is_not_known_is_left_out_and_reported(method):
    known, unknown = result("baseline", 0, 100, 30), result("baseline", 1, 100, 30)
    unknown.record["run"]["method"] = method
    with pytest.raises(UserError, match="use the version that wrote it"):
        method_of(unknown.record | {"id": "unknown"})
    unknown.record["id"] = "unknown"
    runs, notes = known_methods([known, unknown])
    assert runs == [known]
    assert "is left out: unknown was trained by a method" in notes[0]
