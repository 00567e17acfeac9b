"""In figures, an ensemble's point is that of all its members; beside it is its last one alone."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle

from fobench.evidence.results import ExperimentResults, read_results, results_of
from fobench.figures import FIGURES, curves, pareto, schedule, speedup_error, time_spent
from fobench.figures.export import render
from fobench.figures.style import styles
from fobench.methods import baseline, ensemble, freezeout, snapshot
from tests.evidence.ensemble_runs import ensemble_run
from tests.figures.test_predicted_points import legend_of

PLACES = [(speedup_error.draw, lambda saved: saved), (pareto.draw, lambda saved: 100 - saved)]
DRAW = [draw for draw, _ in PLACES]


@pytest.fixture
def single(tiny_results) -> ExperimentResults:
    (panel,), _ = read_results([tiny_results])
    return panel


@pytest.fixture
def results(single) -> ExperimentResults:
    """Both FreezeOut runs are ensembles: one of snapshots, one of independent models."""
    ensembles = {
        "t0.30": {"members": (95, 30), "last": (50,)},
        "t1.00": {"members": (90, 96), "last": (91,), "method": "ensemble"},
    }
    runs = []
    for run in single.runs:
        changes = [each for part, each in ensembles.items() if part in run.id]
        runs.append(ensemble_run(run, **changes[0]) if changes else run)
    return results_of(single.folder, runs)


def crosses(ax: Axes) -> list[Line2D]:
    """The lines from ensembles to their last members."""
    return [line for line in ax.lines if line.get_marker() == "x" and len(line.get_xdata())]


@pytest.mark.parametrize(("draw", "place"), PLACES)
def test_the_last_member_is_at_the_time_of_its_ensemble_and_its_own_error(results, draw, place):
    """In the ensemble's colour, with a cross at its end alone."""
    (ax,) = draw([results]).axes
    known = styles([results])
    rows = [row for _, row in results.summary.iterrows() if row["method"].ensemble_size > 1]
    assert [(row["error"], row["last_error"]) for row in rows] == [(50, 30), (91, 96)]
    for row, line in zip(rows, crosses(ax), strict=True):
        x = place(row["saved"])
        assert list(line.get_xdata()) == [x, x]
        assert list(line.get_ydata()) == [row["error"], row["last_error"]]
        assert line.get_markevery() == [1]
        assert line.get_color() == known[row["method"].line()].colour


@pytest.mark.parametrize("draw", DRAW)
def test_the_legend_has_one_entry_for_all_last_members(results, single, draw):
    assert len(explanations_of(legend_of(draw, results))) == 1
    assert explanations_of(legend_of(draw, single)) == []


def explanations_of(legend: list[str]) -> list[str]:
    return [each for each in legend if "last member" in each]


@pytest.mark.parametrize("draw", DRAW)
def test_the_legend_tells_what_it_costs_to_run_an_ensemble(results, draw):
    """From the least to the most; once for all panels."""
    (told,) = explanations_of(legend_of(draw, results))
    assert told.endswith("running all costs 2.5 × the FLOPs of one")
    results.runs[-1].record["ensemble"]["forward_flops"] = 1.75
    changed = results_of(results.folder, results.runs)
    (told,) = explanations_of(legend_of(draw, changed))
    assert told.endswith("running all costs 1.8 to 2.5 × the FLOPs of one")


@pytest.mark.parametrize("draw", DRAW)
def test_panels_with_and_without_ensembles_stand_side_by_side(results, single, draw):
    plain, with_ensembles = draw([single, results]).axes
    assert (len(crosses(plain)), len(crosses(with_ensembles))) == (0, 2)


@pytest.mark.parametrize("draw", DRAW)
def test_an_ensemble_trained_for_fewer_steps_has_no_cross(results, draw):
    """It is what others are compared with, and would crowd the figure."""
    for run in results.runs:
        if run.record["run"]["method"]["name"] == "ensemble":
            run.record["run"]["method"]["epoch_share"] = 0.5
    (ax,) = draw([results_of(results.folder, results.runs)]).axes
    assert [list(line.get_ydata()) for line in crosses(ax)] == [[50, 30]]


def test_no_two_kinds_of_method_look_alike():
    """Colour and marker both differ, as either may be all that a reader can tell."""
    looks = [
        *freezeout.LOOKS.values(),
        *snapshot.LOOKS.values(),
        ensemble.LOOK,
        *(baseline.WHOLE, baseline.SHORTER, baseline.CONSTANT),
    ]
    assert len({marker for _, marker in looks}) == len(looks)
    # Both controls that are baselines are grey.
    assert len({colour for colour, _ in looks}) == len(looks) - 1


def test_the_schedule_shows_each_restart_and_a_frozen_unit_at_zero(results):
    """Over 2 cycles of 15 steps at 0.2; unit 0 freezes at the end of the first."""
    record = next(run.record for run in results.runs if "t0.30" in run.id)
    record["run"]["method"] |= {"scaling": "linear", "t0": 0.3, "scale_lr": False}
    record |= {"total_steps": 30}
    for unit in record["units"]:
        unit["freeze_step"] = None
    record["units"][0]["freeze_step"] = 15
    rates = schedule.unit_rates(record, np.array([0, 0.25, 0.4999, 0.5, 0.75]))
    assert rates[-1] == pytest.approx([0.2, 0.1, 0, 0.2, 0.1], abs=1e-6)
    assert rates[0] == pytest.approx([0.2, 0.1, 0, 0, 0], abs=1e-6)


@pytest.mark.parametrize("draw", DRAW)
def test_the_frame_holds_the_last_members(results, draw):
    """They are the lowest and the highest point."""
    (ax,) = draw([results]).axes
    assert results.summary["error"].min() > 30
    assert results.summary["error"].max() < 96
    low, high = ax.get_ylim()
    assert low < 30 < 96 < high


@pytest.mark.parametrize("draw", DRAW)
def test_single_models_have_no_cross(single, draw):
    (ax,) = draw([single]).axes
    assert crosses(ax) == []


@pytest.mark.parametrize("draw", DRAW)
def test_the_ensembles_point_is_open_if_its_time_is_predicted_and_the_last_member_is_none(
    results, draw
):
    """A cross has no face that could be white."""
    for run in results.runs:
        run.record["predictions"]["profile"] = {"saved_percent": 30.0}
        run.record["timed"] = "t0.30" not in run.id
    (ax,) = draw([results_of(results.folder, results.runs)]).axes
    drawn = [line for line in ax.lines if 50 in line.get_ydata() and line.get_marker() == "<"]
    assert {to_hex(line.get_markerfacecolor()) for line in drawn} == {"#ffffff"}
    assert [MarkerStyle(line.get_marker()).is_filled() for line in crosses(ax)] == [False, False]


def test_the_front_is_not_drawn_through_last_members(results):
    """The most accurate point is a last member's, of 30 %."""
    (ax,) = pareto.draw([results]).axes
    assert min(ax.lines[0].get_ydata()) == 50


def test_curves_say_whose_error_they_show_where_there_are_ensembles(results, single):
    """In the panel of the experiment with ensembles alone."""
    figure = curves.draw([single, results])
    notes = [ax.legend_.get_title().get_text() for ax in figure.axes if ax.legend_]
    said = ["of an ensemble, the member that is being trained" in note for note in notes]
    assert said == [False, True]


def test_the_time_figure_counts_the_evaluation_of_ensembles(results, single):
    """3 seconds each, and 1 for its last member; more than all else in the figure."""

    def ends(panel: ExperimentResults) -> list[float]:
        (ax,) = time_spent.draw([panel]).axes
        found: dict[float, float] = {}
        for bar in ax.patches:
            found[bar.get_y()] = max(found.get(bar.get_y(), 0), bar.get_x() + bar.get_width())
        return list(found.values())

    more = [one - other for one, other in zip(ends(results), ends(single), strict=True)]
    assert sorted(more) == pytest.approx([0, 0, 4, 4])


@pytest.mark.parametrize("kind", FIGURES)
def test_every_figure_of_ensembles_is_drawn(results, kind):
    assert b"2 snapshots, lr 0.2" in render([results], kind, ".svg")
