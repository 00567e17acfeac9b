"""Plans through the command line: made once, saved, recorded, and rejected if invalid."""

import json
import logging
import math
import time
from pathlib import Path

import pytest
import torch

from fobench.activations import places, plan_file, speed
from fobench.activations.places import places_for
from fobench.activations.speed import bytes_at_cuts, for_seconds, measure_place
from fobench.activations.store import Store
from fobench.costs.forward_time import forward_seconds
from fobench.data import split
from fobench.data.synthetic import open_synthetic
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.methods.store_options import size_in_bytes
from fobench.models import build
from fobench.records.epochs import read_epochs
from fobench.records.runs import read_record, status_of

STORE_OPTIONS = """
[[method]]
name = "baseline"
[[method]]
name = "freezeout"
scaling = "linear"
t0 = 0.3
views = 2
[[method]]
name = "freezeout"
scaling = "linear"
t0 = 0.3
views = 2
precompute = true
"""


@pytest.fixture(autouse=True)
def _nothing_is_measured_yet(monkeypatch):
    monkeypatch.setattr(plan_file, "measured_costs", {})


@pytest.fixture
def storing(tiny: Path) -> Path:
    """A tiny experiment of 8 epochs whose last run stores what it freezes."""
    head, _, _ = tiny.read_text().partition("[[method]]")
    tiny.write_text(head.replace("epochs = 3", "epochs = 8") + STORE_OPTIONS)
    return tiny


def add(config: Path, *lines: str) -> Path:
    config.write_text(config.read_text() + "\n".join(lines) + "\n")
    return config


def stored_record(folder: Path) -> dict:
    (path,) = (folder / "results" / "tiny").glob("*precompute*/run.json")
    return read_record(path.parent)


def test_a_plan_is_made_once_and_serves_all_seeds(fobench, storing, tmp_path, monkeypatch):
    first = fobench("run", storing, "--device", "cpu")
    assert first.exit_code == 0, first.output
    (plan,) = (tmp_path / "results" / "tiny").glob("plan-*.json")
    content = json.loads(plan.read_text())
    assert content.keys() == {"format", "for", "costs", "places", "measuring_seconds", "plan"}
    assert 0 < content["measuring_seconds"] < 60
    assert len(content["costs"]["forward"]) == 7

    def measure_again(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(plan_file, "forward_seconds", measure_again)
    plan_file.measured_costs.clear()
    again = fobench("run", storing, "--device", "cpu", "--set", "experiment.seeds=[0, 1]")
    assert again.exit_code == 0, again.output
    records = [
        read_record(path.parent)
        for path in (tmp_path / "results" / "tiny").glob("*precompute*/run.json")
    ]
    assert len(records) == 2
    assert records[0]["store_plan"] == records[1]["store_plan"]


@pytest.mark.slow
def test_each_place_of_the_images_has_a_plan(fobench, storing, tmp_path, monkeypatch):
    """Of those on the device, files of earlier versions are valid, which do not name the place."""
    words = ("run", storing, "--device", "cpu", "--force", "--set", "train.epochs=5")
    for free in (10**9, 1000):
        monkeypatch.setattr(split, "available_memory", lambda _, free=free: (free, 10**9))
        assert fobench(*words).exit_code == 0
    plans = (tmp_path / "results" / "tiny").glob("plan-*.json")
    made_for = [json.loads(plan.read_text())["for"] for plan in plans]
    assert sorted(each.pop("images", "not said") for each in made_for) == [
        *("host memory", "not said"),
    ]
    assert made_for[0] == made_for[1]


def test_the_record_shows_plan_and_predictions_and_what_it_took(fobench, storing, tmp_path):
    add(storing, "plan = [[4, 1], [5, 2], [8, 5]]")
    ran = fobench("run", storing, "--device", "cpu")
    assert ran.exit_code == 0, ran.output
    record = stored_record(tmp_path)
    plan = record["store_plan"]
    # 45 images; 8 channels of 32 by 32 at cut 1, 12 at cut 2; two bytes each.
    sizes = {1: 45 * 8 * 1024 * 2, 2: 45 * 12 * 1024 * 2}
    bytes_of = {(build["epoch"], build["cut"]): build["bytes"] for build in plan["builds"]}
    assert list(bytes_of) == [(4, 1), (5, 2), (8, 5)]
    assert [bytes_of[4, 1], bytes_of[5, 2]] == [sizes[1], sizes[2]]
    assert plan["place"] == "host memory"
    # View 1: epochs 4, 6, 8; view 0: epoch 5 and 7.
    assert plan["peak_bytes"] == sizes[1] + sizes[2] + bytes_of[8, 5]
    assert plan["predicted"].keys() == {"seconds_saved", "build_seconds", "read_seconds"}
    assert record["uncached"] in {path.name for path in (tmp_path / "results/tiny").iterdir()}
    rows = read_epochs(tmp_path / "results" / "tiny" / record["id"])
    assert [row.cached_units for row in rows] == [0, 0, 0, 1, 2, 1, 2, 5]
    assert [row.cache_bytes for row in rows] == [
        *(0, 0, 0, sizes[1], *[sizes[1] + sizes[2]] * 3, sizes[2] + bytes_of[8, 5])
    ]
    store = record["store"]
    assert [seconds > 0 for seconds in store["build_seconds"]] == [
        *(False, False, False, True, True, False, False, True)
    ]
    assert [seconds > 0 for seconds in store["read_seconds"]] == [False] * 3 + [True] * 5
    assert store["notes"] == []


def test_a_budget_that_nothing_fits_stores_nothing_and_says_so(fobench, storing, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    add(storing, 'budget = "1B"')
    ran = fobench("run", storing, "--device", "cpu", "--only", "precompute")
    assert ran.exit_code == 0, ran.output
    assert "nothing is stored: no store within 1 B would save time" in caplog.text
    record = stored_record(tmp_path)
    assert record["store_plan"]["builds"] == []
    assert record["store_plan"]["predicted"]["seconds_saved"] == 0
    assert record["store_plan"]["budget_bytes"] == 1


def test_a_plan_by_hand_over_budget_is_noted_and_the_run_continues(fobench, storing, tmp_path):
    add(storing, 'budget = "1B"', "plan = [[4, 1]]")
    ran = fobench("run", storing, "--device", "cpu", "--only", "precompute")
    assert ran.exit_code == 0, ran.output
    (note,) = stored_record(tmp_path)["store"]["notes"]
    assert note.startswith("no room for a store at cut 1 (a store of 737,280 bytes, with 0")


def test_a_damaged_plan_is_reported_with_a_remedy(fobench, storing, tmp_path):
    assert fobench("run", storing, "--device", "cpu", "--only", "precompute").exit_code == 0
    (plan,) = (tmp_path / "results" / "tiny").glob("plan-*.json")
    sound, before = json.loads(plan.read_text()), stored_record(tmp_path)
    misplaced = sound | {"plan": sound["plan"] | {"place": "nowhere"}}
    unfrozen = sound | {"plan": sound["plan"] | {"builds": [[0, 1]]}}
    nowhere = sound | {"plan": sound["plan"] | {"builds": [[3, 1]], "place": "none"}}
    endless = sound | {"plan": sound["plan"] | {"room": math.inf}}
    wordy = sound | {"plan": sound["plan"] | {"seconds_saved": "much"}}
    for broken in (
        *("{", "{}", '{"format": 1, "plan": {"builds": 3}}', '{"format": 9}'),
        *map(json.dumps, (misplaced, unfrozen, nowhere, endless, wordy)),
    ):
        plan.write_text(broken)
        ran = fobench("run", storing, "--device", "cpu", "--only", "precompute", "--force")
        assert ran.exit_code == 2
        assert f"{plan.name}" in ran.output
        assert ran.output.count("restore it from a copy, or move it away") == 1
        assert stored_record(tmp_path) == before, "nothing that was trained is lost"


def test_stores_without_their_control_are_warned_of(fobench, storing, caplog):
    storing.write_text(storing.read_text().replace("views = 2\n[[method]]", "[[method]]"))
    ran = fobench("run", storing, "--device", "cpu", "--only", "baseline")
    assert ran.exit_code == 0, ran.output
    assert "lacks the control of its stores" in caplog.text


def test_what_is_wrong_with_a_plan_by_hand_is_reported_before_anything_trains(fobench, storing):
    add(storing, "plan = [[1, 1], [4, 6]]")
    ran = fobench("run", storing, "--dry-run")
    assert ran.exit_code == 2
    assert "plan: epoch 1 does not start with a frozen unit" in ran.output
    assert "plan: [4, 6], but at the start of epoch 4 the cut must be 1 to " in ran.output


def test_costs_are_those_of_the_network(storing):
    """Bytes are exact; seconds are positive for every unit; a place keeps to its room."""
    run = expand(load(storing), open_synthetic("synthetic", 55, 20))[-1]
    read = split.load(
        open_synthetic("synthetic", 55, 20), run.data_used, "random", torch.device("cpu")
    )
    network = build("densenet", 10, **vars(run.model)).eval()
    pixels, forward = forward_seconds(network, read.train, 10)
    assert pixels > 0
    assert len(forward) == len(network)
    assert min(forward) > 0
    x, sizes = read.train.images_at(torch.arange(10)), [0]
    for unit in network[:-1]:
        x = unit(x)
        sizes.append(2 * x[0].numel())
    assert bytes_at_cuts(run, torch.float16) == tuple(sizes)
    for name in places_for(torch.device("cpu")):
        place = measure_place(name, network, read.train, 10, torch.float16)
        assert min(place.read, place.write) > 0


def test_measuring_ends_in_time_however_slow_a_place_is(storing, monkeypatch):
    """The speed is computed from what was written and read until then."""
    run = expand(load(storing), open_synthetic("synthetic", 55, 20))[-1]
    read = split.load(
        open_synthetic("synthetic", 55, 20), run.data_used, "random", torch.device("cpu")
    )
    network = build("densenet", 10, **vars(run.model)).eval()
    counted = {"write": 0, "read": 0}

    def slowly(kind):
        real = getattr(Store, kind)

        def act(*words):
            counted[kind] += 1
            time.sleep(0.05)
            return real(*words)

        return act

    for kind in counted:
        monkeypatch.setattr(Store, kind, slowly(kind))
    monkeypatch.setattr(speed, "PASS_SECONDS", 0.06)
    place = measure_place("host memory", network, read.train, 10, torch.float16)
    # There are four batches; two of them take longer than the time there is.
    assert 1 <= counted["write"] <= 2
    assert 2 <= counted["read"] <= 4
    batch = 10 * max(bytes_at_cuts(run, torch.float16))
    assert 0 < place.write < batch / 0.05
    assert 0 < place.read < batch / 0.05


def test_items_for_no_time_are_one():
    assert list(for_seconds(-1.0, range(5))) == [0]
    assert list(for_seconds(60.0, range(5))) == [0, 1, 2, 3, 4]


def test_where_costs_cannot_be_measured_that_run_fails_alone(
    fobench, storing, tmp_path, monkeypatch, caplog
):
    def fail(*_):
        raise torch.OutOfMemoryError("too much was asked for")

    with monkeypatch.context() as patch:
        patch.setattr(plan_file, "forward_seconds", fail)
        ran = fobench("run", storing, "--device", "cpu")
    assert ran.exit_code == 1
    assert "out of memory: lower train.batch_size" in caplog.text
    states = [status_of(path) for path in (tmp_path / "results" / "tiny").glob("*/")]
    assert sorted(states) == ["failed", *["finished"] * (len(states) - 1)]
    assert stored_record(tmp_path)["status"] == "failed"
    assert fobench("run", storing, "--device", "cpu").exit_code == 0
    assert stored_record(tmp_path)["status"] == "finished"


def test_a_place_that_takes_not_one_batch_is_none(storing, monkeypatch):
    run = expand(load(storing), open_synthetic("synthetic", 55, 20))[-1]
    read = split.load(
        open_synthetic("synthetic", 55, 20), run.data_used, "random", torch.device("cpu")
    )
    network = build("densenet", 10, **vars(run.model)).eval()
    batch = 10 * max(bytes_at_cuts(run, torch.float16))
    for room, there in ((batch, True), (batch - 1, False)):
        monkeypatch.setattr(places, "room_in_memory", lambda device, room=room: room)
        place = measure_place("host memory", network, read.train, 10, torch.float16)
        assert (place is not None) == there


def test_report_and_figure_show_what_storing_saved(fobench, storing, tmp_path):
    add(storing, "plan = [[4, 1], [5, 2]]")
    assert fobench("run", storing, "--device", "cpu").exit_code == 0
    report = fobench("report", "results/tiny").output
    section = report.partition("### Beside the same inputs without a store")[2]
    assert "FreezeOut linear, scaled rates, 2 views, stored as float16 by plan 4:1 5:2" in section
    assert fobench("plot", "results/tiny", "--kind", "time", "-o", "time.svg").exit_code == 0
    figure = (tmp_path / "time.svg").read_text()
    assert "building and reading stores of activations" in figure


@pytest.mark.parametrize(
    ("text", "size"),
    [("1B", 1), ("4GB", 4 * 10**9), ("1.5 MB", 1_500_000), ("512MiB", 512 << 20), ("2TB", 2e12),
     ("1KiB", 1024), ("3kB", None), ("-1B", None), ("4", None), ("", None), ("1.B", None)],
)  # fmt: skip
def test_sizes(text, size):
    assert size_in_bytes(text) == size


def test_where_no_epoch_starts_frozen_nothing_is_measured_and_the_log_says_why(
    fobench, storing, monkeypatch, caplog
):
    """The first unit freezes within the only epoch."""
    caplog.set_level("INFO")
    monkeypatch.setattr(plan_file, "measure_costs", None)
    words = ("run", storing, "--device", "cpu", "--only", "*precompute*")
    assert fobench(*words, "--set", "train.epochs=1").exit_code == 0
    assert "views change nothing: no epoch starts with a frozen unit" in caplog.text
