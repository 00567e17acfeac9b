"""In figures, an open marker is a time that was predicted, and nothing else is."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from fobench.errors import UserError
from fobench.evidence.results import ExperimentResults, read_results, results_of
from fobench.figures import curves, pareto, schedule, speedup_error, time_spent
from fobench.figures.style import PREDICTED

WHITE = "#ffffff"
PROFILES = {"baseline_": 0.0, "share0.50": 48.0, "t0.30": 33.0, "t1.00": 1.0}


def with_predictions(tiny_results: Path, untimed: str) -> ExperimentResults:
    """The tiny results with profiles, and with those runs untimed whose ids hold that text."""
    (panel,), _ = read_results([tiny_results])
    runs = deepcopy(panel.runs)
    for run in runs:
        (saved,) = (each for part, each in PROFILES.items() if part in run.id)
        run.record["predictions"]["profile"] = {"saved_percent": saved}
        run.record["timed"] = untimed not in run.id
    return results_of(panel.folder, runs)


@pytest.fixture
def mixed(tiny_results) -> ExperimentResults:
    return with_predictions(tiny_results, "t0.30")


@pytest.fixture
def predicted(tiny_results) -> ExperimentResults:
    """Nothing is timed."""
    return with_predictions(tiny_results, "")


@pytest.fixture
def unknown(predicted) -> ExperimentResults:
    """Nothing is timed, nothing predicted."""
    for run in predicted.runs:
        run.record["predictions"]["profile"] = None
    return results_of(predicted.folder, predicted.runs)


def points_of(draw, results: ExperimentResults) -> dict[bool, list[tuple[float, float]]]:
    """The places of the points, by whether they are open."""
    (ax,) = draw([results]).axes
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for line in ax.lines:
        if line.get_marker() in ("None", "", "|", "_", 2, 3) or not len(line.get_xdata()):
            continue  # no point, or the end of a bar
        is_open = to_hex(line.get_markerfacecolor()) == WHITE
        found[is_open] += zip(*line.get_data(), strict=True)
    return found


def legend_of(draw, results: ExperimentResults) -> list[str]:
    (legend,) = draw([results]).legends
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize(("draw", "x"), [(speedup_error.draw, 33), (pareto.draw, 100 - 33)])
def test_open_points_are_those_that_are_predicted(mixed, predicted, draw, x):
    found = points_of(draw, mixed)
    assert [place for place, _ in found[True]] == [x]
    assert len(found[False]) == 3
    everything = points_of(draw, predicted)
    assert len(everything[True]) == 4
    assert everything[False] == []


@pytest.mark.parametrize("draw", [speedup_error.draw, pareto.draw])
def test_the_legend_explains_open_points_where_there_are_any(mixed, tiny_results, draw):
    assert PREDICTED in legend_of(draw, mixed)
    measured = with_predictions(tiny_results, "none of them")
    assert PREDICTED not in legend_of(draw, measured)
    assert points_of(draw, measured)[True] == []


def test_the_line_to_beat_is_drawn_through_predicted_shares(predicted):
    (ax,) = speedup_error.draw([predicted]).axes
    (line,) = (each for each in ax.lines if each.get_label() == "the line to beat")
    assert list(line.get_xdata()) == [0, 48]


def test_seeds_of_times_are_told_from_seeds_of_errors(mixed, predicted):
    def note(results: ExperimentResults) -> str:
        return speedup_error.draw([results]).legends[0].get_title().get_text()

    assert "n = 1 of errors, no times" in note(predicted)
    again = [replace(run, id=f"{run.id}-1") for run in deepcopy(mixed.runs)]
    for run in again:
        run.record["run"]["seed"] = 1
        run.record["baseline"] += "-1"
        run.record["timed"] = False
    two = results_of(mixed.folder, [*mixed.runs, *again])
    assert "n = 2 of errors, 0 to 1 of times" in note(two)
    labels = [text.get_text() for text in curves.draw([two]).axes[1].legend_.get_texts()]
    assert labels[0] == "baseline (n = 2 of errors, 1 of times)"


def test_curves_against_time_are_of_timed_runs(mixed, unknown):
    def labels(ax) -> list[str]:
        return [line.get_label() for line in ax.lines if "(n = " in line.get_label()]

    by_epoch, by_time = curves.draw([mixed]).axes
    assert len(labels(by_epoch)) == 4
    assert len(labels(by_time)) == 3
    assert not any("t0 = 0.3" in label for label in labels(by_time))
    by_epoch, by_time = curves.draw([unknown]).axes
    assert len(by_time.legend_.get_texts()) == 4, "the legend is of both"
    assert by_time.lines[:] == []
    assert "no run's time counts" in [text.get_text() for text in by_time.texts]


def test_the_time_figure_is_of_timed_runs(mixed, predicted):
    (ax,) = time_spent.draw([mixed]).axes
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert [name for name in names if name.endswith("(no times)")] == [
        "FreezeOut linear, scaled rates, t0 = 0.3 (no times)"
    ]
    with pytest.raises(UserError, match="no run's time counts"):
        time_spent.draw([predicted])


@pytest.mark.parametrize("draw", [speedup_error.draw, pareto.draw])
def test_without_times_and_predictions_the_message_says_what_to_do(unknown, draw):
    with pytest.raises(UserError, match="--untimed and --jobs"):
        draw([unknown])


def test_schedules_need_no_times(unknown):
    assert schedule.draw([unknown]).findobj(Text)
