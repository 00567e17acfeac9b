"""The README says what the committed files say, and its code runs."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

from fobench.evidence import noise, stores
from fobench.evidence.results import ExperimentResults, read_results
from fobench.figures import FIGURES
from fobench.models import FAMILIES
from fobench.report.report import report

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def code_of(section: str) -> list[str]:
    """The Python of a section, block by block."""
    text = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def execute(code: str, names: dict | None = None) -> dict:
    names = names or {}
    exec(compile(code, "README.md", "exec"), names)
    return names


def test_the_example_loop_runs_as_it_stands(capsys):
    (code,) = code_of("FreezeOut in your own loop")
    execute(code)
    assert capsys.readouterr().out == "6 of 7 units are frozen\n"


def test_a_network_added_as_told_trains(fobench, tiny, tmp_path, monkeypatch):
    options, module = code_of("Adding a network")
    declared = execute(options, {"__name__": "families", **vars(families)})["PlainOptions"]
    monkeypatch.setitem(FAMILIES, "plain", declared)
    plain = ModuleType("fobench.models.plain")
    execute(module, vars(plain))
    monkeypatch.setitem(sys.modules, plain.__name__, plain)
    text = tiny.read_text().replace("densenet", "plain").replace("depth = 10", "width = 4")
    tiny.write_text(text.replace("growth_rate = 4", ""))
    ran = fobench("run", tiny, "--only", "t0.30", "--device", "cpu")
    assert ran.exit_code == 0, ran.output
    (path,) = (tmp_path / "results" / "tiny").glob("plain-4_*/run.json")
    record = json.loads(path.read_text())
    assert record["status"] == "finished"
    assert [unit["freeze_step"] for unit in record["units"]] == [5, 10, None]
    wrong = fobench("run", tiny, "--set", "model.width=0")
    assert "[model] width = 0: give a whole number of at least 1 and at most 1000" in wrong.output


EVIDENCE = ROOT / "results" / "cpu-densenet"
NUMERALS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight")
SHOWN = ("method", "n", "time saved, %", "by FLOPs, %", "test error, %", "change, points")


def report_columns(panel: ExperimentResults, names: Sequence[str]) -> list[list[str]]:
    """Those columns of the report's table of methods."""
    header, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in report.methods_table(panel.summary).splitlines()
    ]
    return [[row[header.index(name)] for name in names] for row in rows]


def results_table() -> str:
    """The table of the README: some columns of the report's."""
    (panel,), _ = read_results([EVIDENCE])
    return report.markdown(SHOWN, report_columns(panel, SHOWN)).rstrip()


STORED = ("cpu-precompute", "cpu-precompute-plain",
          "cpu-precompute-wideresnet", "cpu-precompute-wideresnet-plain")  # fmt: skip


def stores_table() -> str:
    """The table of the README on stores: the reports' rows, by experiment."""
    header, rows = ("experiment", *report.STORE_HEADER), []
    for name in STORED:
        (panel,), _ = read_results([ROOT / "results" / name])
        rows += [(name, *row) for row in report.store_rows(stores.summary(panel))]
    return report.markdown(header, rows).rstrip()


def errors_table() -> str:
    """Time saved and errors of the methods in the experiments on stores."""
    header = ("experiment", "method", "n", "time saved, %", "test error, %", "change, points")
    rows = []
    for name in STORED:
        (panel,), _ = read_results([ROOT / "results" / name])
        rows += [(name, *row) for row in report_columns(panel, header[1:])]
    return report.markdown(header, rows).rstrip()


def test_the_tables_on_stores_are_those_of_the_committed_files():
    assert between("stores:start", "stores:end") == stores_table()
    assert between("inputs:start", "inputs:end") == errors_table()


def test_what_the_page_says_of_stores_is_so():
    panels, _ = read_results([ROOT / "results" / name for name in STORED])
    found = pd.concat(stores.summary(panel) for panel in panels)
    assert len(found) == 6
    low, high = found["by_store"].min(), found["by_store"].max()
    assert between("by-store") == f"{low:.1f} to {high:.1f}"
    assert between("missed") == f"{abs(found['by_store'] - found['predicted']).max():.1f}"
    assert between("store-points") == f"{abs(found['points']).max():.2f}"
    assert round(abs(found["points"]).max() * 10_000 / 100) == 6  # images of the 10,000
    assert ((found["points_low"] > 0) | (found["points_high"] < 0)).sum() == 1
    drifts = [noise.noise_of_first_epochs(panel.table).percent for panel in panels]
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


def between(start: str, end: str = "end") -> str:
    return README.partition(f"<!-- {start} -->")[2].partition(f"<!-- {end} -->")[0].strip()


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
    line = summary[[method.is_baseline for method in summary["method"]]]
    line = line.sort_values("saved")
    # A point beyond the end of the line is compared with that end, which is kind to the point.
    to_beat = np.interp(frozen["saved"], line["saved"], line["error"])
    above = frozen["error"] - to_beat
    assert between("below") == NUMERALS[(above < 0).sum()]
    assert between("below-by") == f"{-above.min():.1f}"
    assert between("above-by") == f"{above.max():.1f}"
    assert (-above < (frozen["error_high"] - frozen["error"]).astype(float)).all()
    third = frozen["saved"] < 34
    assert above[third].max() < 1 < 2 < above[~third].min()
    beyond = frozen["saved"] - frozen["flops_saved"]
    assert between("beyond-flops") == f"{beyond.min():.0f} to {beyond.max():.0f}"


def test_the_committed_report_and_figures_are_those_of_the_committed_files(tmp_path):
    """As `fobench report` and `fobench plot` write them."""
    panels, notes = read_results([EVIDENCE])
    assert (EVIDENCE / "report.md").read_text(encoding="utf-8") == report.report(panels, notes)
    (panel,) = panels
    for kind in FIGURES:
        # Texts stand in an SVG as comments beside their outlines.
        drawn = (EVIDENCE / f"{kind}.svg").read_text()
        for told in panel.title.splitlines():
            assert f"<!-- {told} -->" in drawn, kind
        for method in panel.summary["method"]:
            names = (method.line(), method.label().partition(", t0")[0])
            assert any(name in drawn for name in names), (kind, names)


def test_the_noise_is_that_of_the_committed_runs():
    (panel,), _ = read_results([ROOT / "results" / "cpu-noise"])
    found = noise.noise_of_repeats(panel.table)
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
    shown = README.partition("<!-- soak -->")[2].partition("<!-- end -->")[0]
    assert " ".join(shown.split()) == (
        f"{soak['kills']:,} kills with SIGKILL at random moments, {soak['resumes']:,} resumes, "
        f"{soak['resumed_with_store']} of them of a run that had built a store, "
        f"{len(soak['differences'])} differences"
    )
    assert soak["differences"] == []


def test_the_cost_of_checkpoints_is_that_of_the_committed_file():
    measured = json.loads((ROOT / "benchmarks" / "checkpoint_cost.json").read_text())["measured"]
    percents = sorted(each["percent_of_training"] for each in measured)
    shown = README.partition("<!-- checkpoint -->")[2].partition("<!-- end -->")[0]
    assert shown == f"{percents[0]:.2f} to {percents[-1]:.2f}"
    assert percents[-1] < 1


def test_every_figure_of_the_readme_is_committed():
    figures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", README)
    assert len(figures) >= 2
    for figure in figures:
        assert (ROOT / figure).is_file(), figure
