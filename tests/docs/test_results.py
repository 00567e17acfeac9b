"""The pages say what the committed files say."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import pytest

from fobench.evidence import clock_noise, store_savings
from fobench.evidence.claims import read_claims
from fobench.evidence.outcomes import FAILS, HOLDS, NOT_TESTED, UNDECIDED
from fobench.evidence.results import ExperimentResults, read_results
from fobench.evidence.verdicts import Verdict, verdicts
from fobench.figures import FIGURES
from fobench.figures.style import title_of
from fobench.report.report import report
from fobench.report.tables import (
    AGAINST_FEWER_STEPS,
    STORES_HEADER,
    Table,
    methods_table,
    stores_table,
)
from fobench.report.verdict_table import verdict_table
from tests.docs.pages import ROOT, between

EVIDENCE = ROOT / "results" / "cpu-densenet"
REPORTS = sorted((ROOT / "results").glob("*/report.md"))
SEVERAL_SEEDS = ("cpu-densenet", "cpu-precompute", "cpu-precompute-plain",
                 "cpu-precompute-wideresnet", "cpu-precompute-wideresnet-plain",
                 "cpu-snapshot", "cpu-resnet18", "cpu-vit", "cpu-convnext")  # fmt: skip
SINGLE_SEED = ("quick-wideresnet", "quick-vgg")
NUMERALS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight",
            "nine")  # fmt: skip
SHOWN = (
    *("method", "n (errors)", "n (times)", "time saved, %", "test error, %"),
    *("error change, points", AGAINST_FEWER_STEPS),
)


def results_table() -> str:
    """The table of the README: some columns of the report's."""
    (panel,), _ = read_results([EVIDENCE])
    rows = methods_table(panel.summary).columns(SHOWN)
    return Table(SHOWN, rows).markdown().rstrip()


STORED = ("cpu-precompute", "cpu-precompute-plain",
          "cpu-precompute-wideresnet", "cpu-precompute-wideresnet-plain")  # fmt: skip


def stores_of_experiments() -> str:
    """The table of the README on stores: the reports' rows, by experiment."""
    header, rows = ("experiment", *STORES_HEADER), []
    for name in STORED:
        (panel,), _ = read_results([ROOT / "results" / name])
        rows += [(name, *row) for row in stores_table(panel).rows]
    return Table(header, rows).markdown().rstrip()


def errors_table() -> str:
    """Time saved and errors of the methods in the experiments on stores."""
    shown = ("method", "n (errors)", "time saved, %", "test error, %", "error change, points")
    rows = []
    for name in STORED:
        (panel,), _ = read_results([ROOT / "results" / name])
        rows += [(name, *row) for row in methods_table(panel.summary).columns(shown)]
    return Table(("experiment", *shown), rows).markdown().rstrip()


def test_the_tables_on_stores_are_those_of_the_committed_files():
    assert between("stores:start", "stores:end") == stores_of_experiments()
    assert between("inputs:start", "inputs:end") == errors_table()


def test_what_the_page_says_of_stores_is_so():
    panels, _ = read_results([ROOT / "results" / name for name in STORED])
    found = pd.concat(store_savings.summary(panel) for panel in panels)
    assert len(found) == 6
    low, high = found["by_store"].min(), found["by_store"].max()
    assert between("by-store") == f"{low:.1f} to {high:.1f}"
    assert between("missed") == f"{abs(found['by_store'] - found['predicted']).max():.1f}"
    assert between("store-points") == f"{abs(found['points']).max():.2f}"
    assert round(abs(found["points"]).max() * 10_000 / 100) == 6  # images of the 10,000
    assert ((found["points_low"] > 0) | (found["points_high"] < 0)).sum() == 1
    drifts = [clock_noise.noise_of_first_epochs(panel.table).percent for panel in panels]
    assert between("drift") == f"{min(drifts):.0f} to {max(drifts):.0f}"
    changes = [change for panel in panels for change in changes_by_views(panel)]
    assert between("view-points") == f"{min(changes):+.1f} to {max(changes):+.1f}"


def changes_by_views(panel: ExperimentResults) -> list[float]:
    """Points of test error that fixed views add, by the means of the seeds."""
    errors = {
        (method.t0, method.views): error
        for method, error in zip(panel.summary["method"], panel.summary["error"], strict=True)
        if method.name == "freezeout" and not method.precompute
    }
    return [error - errors[t0, None] for (t0, views), error in errors.items() if views]


def test_the_results_table_is_that_of_the_committed_files():
    assert between("results:start", "results:end") == results_table()


def test_what_the_page_says_of_the_results_is_so():
    (panel,), _ = read_results([EVIDENCE])
    summary = panel.summary
    frozen = summary[[method.name == "freezeout" for method in summary["method"]]]
    assert len(frozen) == 8
    for name, column, digits in (("saved", "saved", 0), ("points", "points", 1)):
        low, high = frozen[column].min(), frozen[column].max()
        assert between(name) == f"{low:.{digits}f} to {high:.{digits}f}"
    on_line = frozen[~frozen["fewer_steps_beyond"]]
    above = on_line["fewer_steps"]
    assert between("on-line") == NUMERALS[len(on_line)]
    assert between("below") == NUMERALS[(above < 0).sum()]
    assert between("below-by") == f"{-above.min():.1f}"
    assert between("above-by") == f"{above.max():.1f}"
    decided = on_line[(on_line["fewer_steps_low"] > 0) | (on_line["fewer_steps_high"] < 0)]
    assert between("decided") == NUMERALS[len(decided)]
    beyond = frozen["saved"] - frozen["flops_saved"]
    assert between("beyond-flops") == f"{beyond.min():.0f} to {beyond.max():.0f}"


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.parent.name)
def test_every_committed_report_is_that_of_the_committed_runs(path):
    """As `fobench report` writes it."""
    assert path.read_text(encoding="utf-8") == report(*read_results([path.parent]))


FIGURES_OF = sorted({path.parent for path in (ROOT / "results").glob("*/speedup-error.svg")})


@pytest.mark.parametrize("folder", FIGURES_OF, ids=lambda folder: folder.name)
def test_the_committed_figures_are_of_the_committed_runs(folder):
    (panel,), _ = read_results([folder])
    committed = [kind for kind in FIGURES if (folder / f"{kind}.svg").exists()]
    assert len(committed) >= 5
    for kind in committed:
        # Matplotlib writes texts into an SVG as comments next to their outlines.
        drawn = (folder / f"{kind}.svg").read_text()
        for line in title_of(panel).splitlines():
            assert f"<!-- {line} -->" in drawn, kind
        for method in panel.summary["method"]:
            # A long name takes several lines, broken behind commas.
            names = (method.line().split(", "), method.label().split(", "))
            assert any(all(part in drawn for part in name) for name in names), (kind, names)


QUICK = ("quick-densenet", "quick-wideresnet", "quick-vgg", "quick-resnet18")
QUICK_SHOWN = ("method", "time saved, %", "test error, %", AGAINST_FEWER_STEPS)


def quick_table() -> str:
    """What `make reproduce` measures without a GPU, some columns of the reports."""
    rows = []
    for name in QUICK:
        (panel,), _ = read_results([ROOT / "results" / name])
        rows += [(name, *row) for row in methods_table(panel.summary).columns(QUICK_SHOWN)]
    return Table(("experiment", *QUICK_SHOWN), rows).markdown().rstrip()


def test_the_quick_table_is_that_of_the_committed_runs():
    assert between("quick:start", "quick:end") == quick_table()


def test_the_quick_profile_keeps_its_promises():
    """Trained in minutes, each whole baseline below 20 % error, over 20 epochs or more."""
    panels, _ = read_results([ROOT / "results" / name for name in QUICK])
    seconds = [
        epoch.train_seconds + epoch.eval_seconds
        for panel in panels
        for run in panel.runs
        for epoch in run.epochs
    ]
    assert between("quick-seconds") == f"{sum(seconds):.0f}"
    drifts = [clock_noise.noise_of_first_epochs(panel.table).percent for panel in panels]
    assert between("quick-drift") == ", ".join(f"{drift:.1f}" for drift in drifts)
    for panel in panels:
        whole = [method.is_whole_baseline for method in panel.summary["method"]]
        (error,) = panel.summary[whole]["error"]
        assert error < 20
        assert panel.runs[0].record["run"]["train"]["epochs"] >= 20


def test_the_noise_is_that_of_the_committed_runs():
    (panel,), _ = read_results([ROOT / "results" / "cpu-noise"])
    found = clock_noise.noise_of_repeats(panel.table)
    assert between("noise") == f"{found.percent:.1f} % ({found.degrees + 1} runs)"


def test_the_step_overhead_is_that_of_the_committed_file():
    measured = json.loads((ROOT / "benchmarks" / "step_overhead.json").read_text())["measured"]
    took = [each["overhead_milliseconds"] for each in measured]
    assert between("overhead") == f"{min(took):.1f} to {max(took):.1f}"
    (whole,) = (each for each in measured if "_baseline_" in each["run"])
    assert between("overhead-whole") == f"{whole['overhead_percent']:.1f}"
    assert whole["overhead_percent"] < 2
    most = max(each["overhead_percent"] for each in measured)
    assert between("overhead-most") == f"{most:.1f}"


def test_the_kills_are_those_of_the_committed_soak():
    soak = json.loads((ROOT / "benchmarks" / "soak.json").read_text())
    assert " ".join(between("soak").split()) == (
        f"{soak['kills']:,} kills with SIGKILL at random moments, {soak['resumes']:,} resumes, "
        f"{soak['resumed_with_store']} of them of a run that had built a store, "
        f"{len(soak['differences'])} differences"
    )
    assert soak["differences"] == []


def test_the_cost_of_checkpoints_is_that_of_the_committed_file():
    measured = json.loads((ROOT / "benchmarks" / "checkpoint_cost.json").read_text())["measured"]
    percents = sorted(each["percent_of_training"] for each in measured)
    assert between("checkpoint") == f"{percents[0]:.2f} to {percents[-1]:.2f}"
    assert percents[-1] < 1


def test_a_step_costs_the_same_under_either_method():
    """While nothing is frozen; every interval holds no difference."""
    measured = json.loads((ROOT / "benchmarks" / "equal_steps.json").read_text())["measured"]
    header = ("network", "step of the baseline, ms", "FreezeOut without freezing, %")
    rows = []
    for each in measured:
        ratio, low, high = each["ratio_percent"]
        assert low < 0 < high
        shown = f"{ratio:+.1f} ({low:+.1f} to {high:+.1f})"
        rows.append((each["network"], f"{each['step_milliseconds']:.1f}", shown))
    assert len(rows) == 3
    assert (
        between("equal-steps:start", "equal-steps:end") == Table(header, rows).markdown().rstrip()
    )


PREDICTED = ("network", "method", "predicted, s", "measured, s", "difference, %",
             "time saved, %", "by profile, %", "by FLOPs, %", "paper's estimate, %")  # fmt: skip


def predictions() -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "predictions.json").read_text())


def predictions_shown() -> str:
    rows = [
        (
            *(row["network"], row["method"]),
            *(f"{row[f'{kind}_seconds']:.1f}" for kind in ("predicted", "measured")),
            f"{row['difference_percent']:+.1f}",
            *(f"{row[f'saved_{way}']:.1f}" for way in ("measured", "by_profile", "by_flops")),
            f"{row['saved_by_paper']:.1f}",
        )
        for each in predictions()["measured"]
        for row in each["runs"]
    ]
    return Table(PREDICTED, rows).markdown().rstrip()


def how_far_off() -> dict[str, tuple[list[float], str]]:
    """Sizes of differences, and their unit, by what is compared."""
    rows = [row for each in predictions()["measured"] for row in each["runs"]]
    stored = [row for row in rows if "stored" in row["method"]]
    plain = [row for row in rows if row not in stored]

    def points(of: list[dict[str, Any]], way: str) -> list[float]:
        return [abs(row[f"saved_{way}"] - row["saved_measured"]) for row in of]

    return {
        "seconds": ([abs(row["difference_percent"]) for row in plain], "%"),
        "seconds-stores": ([abs(row["difference_percent"]) for row in stored], "%"),
        "saved": (points(rows, "by_profile"), "points"),
        "flops": (points(plain, "by_flops"), "points"),
    }


def test_the_predictions_are_those_of_the_committed_file():
    """Within what was asked of a profile: 3 % in the median, 8 % at worst."""
    found = predictions()["measured"]
    assert between("predictions:start", "predictions:end") == predictions_shown()
    assert [len(each["runs"]) for each in found] == [6, 6, 6]
    off = how_far_off()
    for name, (sizes, unit) in off.items():
        assert between(f"off-{name}") == f"{median(sizes):.1f} {unit}"
        assert between(f"worst-{name}") == f"{max(sizes):.1f} {unit}"
    for name in ("seconds", "saved"):
        assert median(off[name][0]) < 3
        assert max(off[name][0]) < 8
    drifts = [each["first_epochs_percent"] for each in found]
    assert between("predicted-drift") == ", ".join(f"{each:.1f}" for each in drifts)


def jobs_shown() -> str:
    header = ("network", "one run, images/s", "two at once, images/s", "ratio")
    rows = []
    for each in json.loads((ROOT / "benchmarks" / "jobs.json").read_text())["measured"]:
        alone, together = (
            sum(each["images_per_second"][way]) / each["repetitions"]
            for way in ("alone", "together")
        )
        ratio, low, high = each["ratio"]
        shown = f"{ratio:.2f} ({low:.2f} to {high:.2f})"
        rows.append((each["network"], f"{alone:.0f}", f"{together:.0f}", shown))
    return Table(header, rows).markdown().rstrip()


def test_what_two_jobs_gain_is_what_the_committed_file_says():
    assert between("jobs:start", "jobs:end") == jobs_shown()


JUDGED = ("claim", "verdict", "setting", "experiment", "measured", "n of times, errors", "scale")


def judged() -> list[Verdict]:
    """The verdicts that the committed runs suffice for; of experiments with a single seed, only
    those on claims that no other tests."""
    several, single = (
        [
            verdict
            for verdict in verdicts(read_results(map(folder_of, names))[0], read_claims())
            if verdict.outcome != NOT_TESTED
        ]
        for names in (SEVERAL_SEEDS, SINGLE_SEED)
    )
    tested = {verdict.claim.options.id for verdict in several}
    return several + [verdict for verdict in single if verdict.claim.options.id not in tested]


def verdicts_shown() -> str:
    table = verdict_table(judged())
    return Table(JUDGED, table.columns(JUDGED)).markdown().rstrip()


def verdict_counts() -> str:
    """How often each claim holds, fails and is undecided, over settings and experiments."""
    found: dict[str, list[Verdict]] = {}
    for verdict in judged():
        found.setdefault(verdict.claim.options.statement, []).append(verdict)
    rows = []
    for statement, group in found.items():
        outcomes = [verdict.outcome for verdict in group]
        counts = [str(outcomes.count(each)) for each in (HOLDS, FAILS, UNDECIDED)]
        assert sum(map(int, counts)) == len(group)
        places = dict.fromkeys(verdict.experiment for verdict in group)
        rows.append((statement, *counts, ", ".join(places)))
    return Table(("claim", HOLDS, FAILS, UNDECIDED, "experiments"), rows).markdown().rstrip()


def folder_of(name: str) -> Path:
    return ROOT / "results" / name


def test_the_verdicts_are_those_on_the_committed_runs():
    assert between("verdicts:start", "verdicts:end") == verdicts_shown()
    assert between("counts:start", "counts:end") == verdict_counts()


CARD = ROOT / "results" / "gpu-h100"


def printed_by(script: str, *words: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu" / script), str(CARD), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_tables_of_the_card_are_those_of_the_committed_files():
    parts = ("gpu-steps", "gpu-saved", "gpu-predicted")
    shown = [between(f"{part}:start", f"{part}:end") for part in parts]
    assert "\n\n".join(shown) == printed_by("tables.py").strip()


def test_the_tests_that_passed_on_the_card_are_those_of_its_log():
    words = [line.partition(" ")[0] for line in (CARD / "tests.txt").read_text().splitlines()]
    assert between("cuda-passed") == str(words.count("PASSED"))
    assert words.count("SKIPPED") == 1
    assert not {"FAILED", "ERROR"} & set(words)


@pytest.mark.slow
def test_the_figure_of_the_card_is_drawn_again_byte_for_byte(tmp_path):
    drawn = tmp_path / "time-saved.svg"
    printed_by("figure.py", "-o", str(drawn))
    assert drawn.read_bytes() == (CARD / "time-saved.svg").read_bytes()
