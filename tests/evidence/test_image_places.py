"""Runs whose images lie in different places: their errors are compared, their times are not."""

import math
from dataclasses import replace
from pathlib import Path

from fobench.evidence.pairs import table
from fobench.evidence.results import device_title, named_together, results_of, unpaired_notes
from fobench.evidence.summary import summary
from fobench.report.tables import environment_table
from tests.evidence.test_stats import result


def test_the_device_is_named_with_the_place_of_images_that_are_elsewhere():
    assert device_title("P, 2 threads", {"device"}) == "P, 2 threads"
    assert device_title("P, 2 threads", {"file"}) == "P, 2 threads, images from file"


def test_devices_that_compute_alike_share_how_they_do():
    cards = ["H100, float32, CUDA graphs", "H200, float32, CUDA graphs", "P, 2 threads"]
    assert named_together(cards) == "H100 and H200, float32, CUDA graphs and P, 2 threads"
    assert named_together(["H100", "P, 1 thread", "P, 2 threads"]) == (
        "H100 and P, 1 thread and P, 2 threads"
    )


def test_one_machine_with_images_in_two_places_is_named_once():
    runs = [result("baseline", 0, 1, 1), result("freezeout", 0, 1, 1, images="file")]
    found = results_of(Path("results"), runs)
    assert found.devices == ["P, 2 threads, images from device or file"]
    assert ("images read from", "device, file") in environment_table(found).rows
    assert "images read from" not in dict(environment_table(replace(found, runs=runs[:1])).rows)


def test_images_in_another_place_leave_the_pair_of_errors():
    """Where a run began, and where it was resumed: what is learned does not depend on it."""
    runs = [result(name, 0, 100, 30) for name in ("baseline", "freezeout")]
    runs[1].record["resumed_at"] = [runs[1].record["environment"] | {"images": "host memory"}]
    results = results_of(Path("results"), runs, include_resumed=True)
    frozen = results.table.to_dict("records")[1]
    assert frozen["error_points"] == 0
    assert math.isnan(frozen["log_ratio"])
    (note,) = unpaired_notes(results)
    assert "the images of its baseline lay in another place" in note
    runs[1].record["resumed_at"][0]["host"] = "g"
    assert math.isnan(table(runs)["error_points"][1]), "as on another host"


def test_where_an_ensemble_alone_was_tested_does_not_count():
    runs = [result(name, 0, 100, 30) for name in ("baseline", "freezeout")]
    record = runs[1].record
    elsewhere = record["environment"] | {"images": "file", "host": "g"}
    record |= {"steps_per_epoch": 10, "total_steps": 25, "resumed_at": [elsewhere | {"epochs": 2}]}
    assert summary(table(runs)).to_dict("records")[1]["pairs"] == 0
    record["resumed_at"][0]["epochs"] = 3
    assert summary(table(runs)).to_dict("records")[1]["pairs"] == 1
