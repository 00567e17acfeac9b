"""`fobench predict`: through the command line, on the tiny experiment."""

import csv
import re

import pytest

from fobench.training import profiling
from tests.costs.test_run_time import profile

HEADER = re.compile(
    r"method +runs +steps +seconds +saved, % +by FLOPs, % +paper's, % +memory +stores"
)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(profiling, "SECONDS", 0.0)


@pytest.fixture
def measured(monkeypatch):
    """The number of profiles measured."""
    from fobench.sweep import profiles

    found, measure = [], profiles.measure_profile

    def counted(*arguments):
        found.append(1)
        return measure(*arguments)

    monkeypatch.setattr(profiles, "measure_profile", counted)
    return found


@pytest.fixture
def shortening(monkeypatch):
    """A profile: steps get shorter by a tenth with each of six units, as small ones may not."""
    steps = profile(*(1e-3 * (10 - frozen) for frozen in range(7)))
    monkeypatch.setattr("fobench.sweep.profiles.measure_profile", lambda *_: steps)


@pytest.mark.usefixtures("shortening")
def test_each_method_has_a_row_and_those_that_freeze_a_sentence(fobench, tiny):
    ran = fobench("predict", tiny, "--set", "experiment.seeds=[0,1]")
    assert ran.exit_code == 0, ran.output
    lines = ran.stdout.splitlines()
    assert lines[0] == "tiny on synthetic: DenseNet-BC 10-4, batches of 10"
    assert HEADER.fullmatch(lines[2])
    rows = {
        line[:50].strip(): line[50:].split() for line in lines if re.search(r"  2 +\d+  ", line)
    }
    assert len(rows) == 4
    sentences = [line for line in lines if "of the baseline's training time here" in line]
    assert len(sentences) == 2
    early, late = sentences
    assert "t0 = 0.3 would save" in early
    assert "of its 15 steps (epoch_share = 0." in early
    assert "t0 = 1 would save 0.0 %" in late
    assert "tiny: 8 runs to do, about 0.0" in ran.stdout
    assert lines[-1].startswith("Predicted is time, not error")


def test_a_profile_is_measured_once_and_again_if_forced(fobench, tiny, measured, tmp_path):
    fobench("predict", tiny)
    [path] = (tmp_path / "results/tiny").glob("profile-*.json")
    before = path.read_bytes()
    ran = fobench("predict", tiny)
    assert (len(measured), path.read_bytes()) == (1, before)
    assert f"profile: results/tiny/{path.name}" in ran.stdout
    fobench("predict", tiny, "--force")
    assert len(measured) == 2
    assert path.read_bytes() != before


def test_profile_only_shows_a_step_at_every_number_of_frozen_units(fobench, tiny, tmp_path):
    ran = fobench("predict", tiny, "--profile-only")
    lines = ran.stdout.splitlines()
    assert [line.split()[0] for line in lines[3:]] == [str(frozen) for frozen in range(7)]
    assert lines[3].split()[-3:] == ["100.0", "100.0", "100.0"]
    assert len(list((tmp_path / "results/tiny").iterdir())) == 1


@pytest.mark.usefixtures("shortening")
def test_a_file_has_a_row_for_each_run(fobench, tiny, tmp_path):
    ran = fobench("predict", tiny, "-o", "predictions.csv", "--only", "freezeout")
    assert ran.exit_code == 0, ran.output
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert all("freezeout" in row["run"] for row in rows)
    assert float(rows[0]["train_seconds"]) < float(rows[1]["train_seconds"])
    assert 0 < float(rows[0]["saved_percent"]) < 100


def test_finished_runs_are_not_counted_as_to_do(fobench, tiny):
    fobench("run", tiny, "--only", "baseline")
    assert "tiny: 2 runs to do" in fobench("predict", tiny).stdout


def test_stores_are_predicted_by_their_plan(fobench, tiny, tmp_path):
    plan = '\n[[method]]\nname = "freezeout"\nt0 = 0.3\nviews = 1\nprecompute = true\n'
    tiny.write_text(tiny.read_text() + plan + "plan = [[2, 1]]\n")
    ran = fobench("predict", tiny)
    assert ran.exit_code == 0, ran.output
    assert "host memory" in ran.stdout
    assert list((tmp_path / "results/tiny").glob("plan-*.json"))


def test_mistakes_are_messages(fobench, tiny):
    tiny.write_text(tiny.read_text().replace("epochs = 3", "epochs = 0"))
    ran = fobench("predict", tiny)
    assert ran.exit_code == 2
    assert "epochs = 0" in ran.stderr
