"""The pages say what the committed files say."""

from collections import Counter

import pandas as pd
import pytest

from docs.numbers import (
    benchmarks,
    elsewhere,
    fifty_epochs,
    gpu,
    predictions,
    quick,
    shown,
    snapshots,
    stores,
    timed,
    verdicts,
)
from docs.numbers.pages import PAGES, PLACE, RESULTS, ROOT, filled, places_in
from docs.numbers.words import experiment
from fobench.evidence import ensembles
from fobench.evidence.claim_tests import summary_against_control
from fobench.evidence.results import read_results
from fobench.evidence.store_savings import summary as savings_of
from fobench.figures import FIGURES
from fobench.figures.style import title_of
from fobench.report.html import page
from fobench.report.report import report

REPORTS = sorted(RESULTS.glob("*/report.md"))
IN_PAGES = {
    name: text
    for page in PAGES
    for name, text in places_in(page.read_text(encoding="utf-8")).items()
}


@pytest.fixture(scope="module")
def committed() -> dict[str, str]:
    return shown()


def test_the_pages_show_what_the_committed_files_say(committed):
    """If not: `make docs`."""
    for name, text in committed.items():
        assert IN_PAGES[name] == text, name


def test_no_place_of_the_pages_is_filled_by_hand_or_stands_twice(committed):
    names = Counter(
        match["table"] or match["number"]
        for page in PAGES
        for match in PLACE.finditer(page.read_text(encoding="utf-8"))
    )
    assert set(names) == set(committed)
    assert set(names.values()) == {1}


def test_a_page_is_filled_where_it_differs():
    page = (
        "Took <!-- one -->3\n  runs<!-- end -->, <!-- two -->4<!-- end -->, not 5.\n"
        "<!-- rows:start -->\n| a |\n<!-- rows:end -->\n<!-- other -->6<!-- end -->\n"
    )
    assert places_in(page) == {"one": "3 runs", "two": "4", "rows": "| a |", "other": "6"}
    assert filled(page, {"one": "3 runs", "two": "7", "rows": "| b |\n| c |"}) == (
        "Took <!-- one -->3\n  runs<!-- end -->, <!-- two -->7<!-- end -->, not 5.\n"
        "<!-- rows:start -->\n| b |\n| c |\n<!-- rows:end -->\n<!-- other -->6<!-- end -->\n"
    )


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.parent.name)
def test_every_committed_report_is_that_of_the_committed_runs(path, monkeypatch):
    """As `fobench report` writes it, which names folders as it is given them."""
    monkeypatch.chdir(ROOT)
    folder = path.parent.relative_to(ROOT)
    assert path.read_text(encoding="utf-8") == report(*read_results([folder]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", sorted(RESULTS.glob("*/report.html")), ids=lambda path: path.parent.name
)
def test_every_committed_page_is_that_of_the_committed_runs(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    folder = path.parent.relative_to(ROOT)
    assert path.read_text(encoding="utf-8") == page(*read_results([folder]))


def test_no_committed_result_is_larger_than_a_megabyte():
    sizes = {path: path.stat().st_size for path in RESULTS.rglob("*") if path.is_file()}
    assert max(sizes.values()) <= 10**6, max(sizes, key=sizes.get)


FIGURES_OF = sorted({path.parent for path in RESULTS.glob("*/speedup-error.svg")})


@pytest.mark.parametrize("folder", FIGURES_OF, ids=lambda folder: folder.name)
def test_the_committed_figures_are_of_the_committed_runs(folder):
    (panel,), _ = read_results([folder])
    committed = [kind for kind in FIGURES if (folder / f"{kind}.svg").exists()]
    is_timed = panel.table["timed"].any()
    assert len(committed) >= 4 + is_timed  # the figure of seconds
    for kind in committed:
        # Matplotlib writes texts into an SVG as comments next to their outlines.
        drawn = (folder / f"{kind}.svg").read_text()
        for line in title_of(panel).splitlines():
            assert f"<!-- {line} -->" in drawn, kind
        for method in panel.summary["method"]:
            # A long name takes several lines, broken behind commas.
            names = (method.line().split(", "), method.label().split(", "))
            assert any(all(part in drawn for part in name) for name in names), (kind, names)


@pytest.mark.parametrize(
    ("figure", "names"),
    [
        ("fifty-epochs", fifty_epochs.EXPERIMENTS),
        ("cpu-elsewhere", elsewhere.EXPERIMENTS),
        ("quick-speedup-error", quick.EXPERIMENTS),
    ],
)
def test_the_figures_of_several_experiments_name_them_and_their_methods(figure, names):
    drawn = (RESULTS / f"{figure}.svg").read_text()
    titles = [line for name in names for line in title_of(experiment(name)).splitlines()]
    places = [drawn.index(f"<!-- {line} -->") for line in dict.fromkeys(titles)]
    assert places == sorted(places), "in this order"
    for name in names:
        for method in experiment(name).summary["method"]:
            assert method.line() in drawn


# What the texts say in words.


def test_what_the_page_says_of_stores_is_so():
    found = stores.savings()
    assert len(found) == 6
    assert ((found["points_low"] > 0) | (found["points_high"] < 0)).sum() == 1


def test_the_quick_profile_keeps_its_promises():
    """Trained in minutes, each whole baseline below 20 % error, over 20 epochs or more."""
    for panel in map(experiment, quick.EXPERIMENTS):
        whole = [method.is_whole_baseline for method in panel.summary["method"]]
        (error,) = panel.summary[whole]["error"]
        assert error < 20
        assert panel.runs[0].record["run"]["train"]["epochs"] >= 20


def test_five_snapshots_did_worse_than_the_last_of_them_where_nothing_froze():
    """So say the means: the first ones are too weak."""
    tested = ensembles.summary(experiment(snapshots.EXPERIMENT))
    whole = [row for _, row in tested.iterrows() if not row["method"].unfrozen()]
    gains = [row["gain"] for row in whole if row["method"].name == "snapshot"]
    assert len(gains) == 4
    assert max(gains) < 0


def test_the_baselines_of_snapshots_are_those_of_the_single_models():
    """Run for run, as the page says."""
    single = {run.id: run for run in experiment(snapshots.SINGLE_MODELS).runs}
    found = [run for run in experiment(snapshots.EXPERIMENT).runs if "_baseline" in run.id]
    assert len(found) == 15
    assert all(run.epochs == single[run.id].epochs for run in found)
    assert not experiment(snapshots.EXPERIMENT).table["timed"].any()


def test_what_the_page_says_of_ensembles_that_freeze_is_so():
    found = experiment(snapshots.EXPERIMENT)
    tested = ensembles.summary(found)
    frozen = [row for _, row in tested.iterrows() if row["method"].unfrozen()]
    assert [row["shorter"] < 0 for row in frozen].count(True) == 3
    assert len(frozen) == 4
    single = [row["fewer_steps"] < 0 for _, row in found.summary.iterrows()
              if row["method"].unfrozen()]  # fmt: skip
    assert single.count(True) == 1
    (plain,) = snapshots.rows_of(found.summary, snapshots.PLAIN)
    (late,) = (
        row
        for _, row in found.summary.iterrows()
        if row["method"].unfrozen() and row["method"].t0 == 0.8
    )
    assert plain["fewer_steps"] < 0
    assert late["fewer_steps"] < 0
    controlled = [run.id for run in found.runs if run.record.get("control")]
    (against,) = snapshots.rows_of(summary_against_control(found, controlled), snapshots.PLAIN)
    assert against["points_high"] < 0, "five independent models"


@pytest.mark.parametrize("name", ["cpu-vit", "cpu-convnext"])
def test_the_first_units_of_two_networks_freeze_when_their_rates_have_just_warmed_up(name):
    """Then a warm-up leaves 30 % of a cosine: tests/sweep/test_warmup.py."""
    for run in experiment(name).runs:
        method = run.record["run"]["method"]
        if method["name"] == "freezeout" and method["t0"] == 0.5:
            warmup = run.record["run"]["train"]["warmup_epochs"] * run.record["steps_per_epoch"]
            assert run.record["units"][0]["freeze_step"] == warmup


def test_networks_from_elsewhere_that_are_decided_lie_above_the_line():
    methods = pd.concat([experiment(name).summary for name in elsewhere.EXPERIMENTS])
    alone = methods[[method.name == "freezeout" for method in methods["method"]]]
    decided = alone[(alone["fewer_steps_low"] > 0) | (alone["fewer_steps_high"] < 0)]
    assert (decided["fewer_steps"] > 0).all()


def test_every_experiment_of_several_seeds_on_real_images_is_judged():
    """Those of one seed decide nothing."""
    found = {path.parent.name for path in RESULTS.glob("[cg]pu-*/experiment.json")}
    single = {name for name in found if experiment(name).table["seed"].nunique() == 1}
    assert single == {"cpu-noise", "gpu-timed", "gpu-wideresnet"}
    assert found - single - {"cpu-timed"} == set(verdicts.SEVERAL_SEEDS), "too few images"


def test_every_counted_verdict_has_an_outcome():
    found = verdicts.judged()
    rows = [row.split(" | ") for row in verdicts.counts(found).splitlines()[2:]]
    assert sum(int(number) for row in rows for number in row[1:4]) == len(found)


def test_what_the_pages_say_of_the_clock_is_so():
    steps = benchmarks.measured("step_overhead")
    assert all(each["overhead_percent"] < 2 for each in steps if "_baseline_" in each["run"])
    assert benchmarks.content_of("soak")["differences"] == []
    costs = [each["percent_of_training"] for each in benchmarks.measured("checkpoint_cost")]
    assert max(costs) < 1
    steps = benchmarks.measured("equal_steps")
    assert len(steps) == 3
    assert all(low < 0 < high for _, low, high in (each["ratio_percent"] for each in steps))


def test_predictions_are_as_good_as_was_asked_of_a_profile():
    """Within 3 % in the median, 8 % at worst."""
    assert [len(each["runs"]) for each in benchmarks.measured("predictions")] == [6, 6, 6]
    off = predictions.how_far_off()
    for name in ("seconds", "saved"):
        sizes = sorted(off[name][0])
        assert sizes[len(sizes) // 2] < 3
        assert sizes[-1] < 8


def test_no_test_failed_on_the_card():
    ended = gpu.tests()
    assert (ended.count("SKIPPED"), ended.count("NOT")) == (1, 2)  # not reached
    assert set(ended) == {"PASSED", "SKIPPED", "NOT"}


def test_stores_of_densenet_on_later_cards_were_predicted_better_than_that_on_the_first():
    second = timed.misses(experiment("gpu-densenet"), stores=True)
    first = timed.misses(experiment("gpu-timed"), stores=True)
    assert (len(second), len(first)) == (11, 1)
    assert max(map(abs, second)) < abs(first[0])


def test_what_the_page_says_of_timed_runs_is_so():
    """Three of four seeds began with slow first epochs; three runs of two seeds are left out."""
    assert len(timed.of_first_runs(experiment(timed.ON_CARDS))) == 3
    for name in timed.EXPERIMENTS:
        summary = experiment(name).summary
        assert len(summary) == 23
        left_out = 3 * (name == timed.ON_TWO_CORES)
        assert sorted(summary["pairs"].clip(upper=2)) == [1] * left_out + [2] * (23 - left_out)
    assert not timed.beyond(timed.misses(experiment(timed.ON_CARDS), stores=False))


def test_the_store_on_the_card_saved_less_than_was_predicted():
    (store,) = [row for _, row in savings_of(experiment("gpu-timed")).iterrows()]
    assert 0 < store["by_store"] < store["predicted"]


@pytest.mark.slow
def test_the_figure_of_the_card_is_drawn_again_byte_for_byte(tmp_path):
    drawn = tmp_path / "time-saved.svg"
    gpu.printed_by("figure.py", "-o", str(drawn))
    assert drawn.read_bytes() == (gpu.CARD / "time-saved.svg").read_bytes()
