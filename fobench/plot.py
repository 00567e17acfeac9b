"""Figures from the files of finished runs. No torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fobench import stats
from fobench.datasets import name_used
from fobench.errors import UserError
from fobench.files import make_folder, write_bytes
from fobench.results import Epoch, RunResult, read_experiment

SUFFIXES = (".png", ".svg", ".pdf")
BASELINE = "black"
SHORTER = "0.45"
# Colours of Okabe and Ito, told apart by the colour-blind; shapes for print without colour.
STRATEGIES: dict[tuple[str, bool], tuple[str, str]] = {
    ("linear", False): ("#E69F00", "o"),
    ("linear", True): ("#D55E00", "s"),
    ("squared", False): ("#56B4E9", "v"),
    ("squared", True): ("#CC79A7", "P"),
    ("cubic", False): ("#009E73", "^"),
    ("cubic", True): ("#0072B2", "D"),
}
LINES = ("-", "--", ":", "-.")
# Where strategies have the t0 beside their points: each its own side, so that close ones stay
# legible, and first those that lines, which mostly rise to the right, leave free.
CORNERS = ((1, -1), (-1, 1), (1, 1), (-1, -1))
PANEL_WIDTH, HEIGHT = 6.4, 5.0
MOST_COLUMNS = 3


@dataclass(frozen=True)
class Panel:
    """An experiment read for a figure: its runs, a table of them, and a row a variant."""

    folder: Path
    runs: list[RunResult]
    table: pd.DataFrame
    summary: pd.DataFrame


def read_panels(folders: Sequence[Path]) -> tuple[list[Panel], list[str]]:
    """The experiments in the folders, and notes on what is left out.

    Raises UserError for a folder without an experiment or without a finished run.
    """
    panels, notes = [], []
    for folder in dict.fromkeys(folders):
        runs, more = read_experiment(folder)
        notes += [f"{folder}: {note}" for note in more]
        if not runs:
            raise UserError([f"{folder} has no finished run to draw", *notes])
        table = stats.table(runs)
        panel = Panel(folder, runs, table, stats.summary(table))
        panels.append(panel)
        notes += [
            f"{folder}: no time saved for {variant_style(row)[1]}: its baseline is missing or ran "
            "on another machine"
            for _, row in panel.summary[panel.summary["pairs"] == 0].iterrows()
        ]
    return panels, notes


def draw(panels: Sequence[Panel], kind: str, path: Path) -> None:
    """Draw the figure of that kind.

    Raises UserError for a file of an unknown kind, or one that cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: give a file that ends in {', '.join(SUFFIXES)}")
    figure = KINDS[kind](panels)
    # Without dates and random ids the same results give the same file.
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix)
    drawn = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "fobench"}):
        figure.savefig(drawn, format=suffix[1:], dpi=160, metadata=metadata)
    make_folder(path.parent)
    write_bytes(path, drawn.getvalue())


def speedup_error(panels: Sequence[Panel]) -> Figure:
    """Time saved against test error: a line a strategy, a point a t0; the shorter baselines."""
    columns = min(len(panels), MOST_COLUMNS)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(PANEL_WIDTH * columns, HEIGHT * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for unused in axes[len(panels) :]:
        unused.set_axis_off()
    for ax, panel in zip(axes, panels, strict=False):
        summary = panel.summary[panel.summary["pairs"] > 0]
        if summary.empty:
            raise UserError(
                f"{panel.folder}: no run has its baseline from the same machine: run that first"
            )
        draw_baselines(ax, summary[summary["method"] == "baseline"])
        draw_strategies(ax, summary[summary["method"] == "freezeout"])
        ax.axvline(0, color="0.85", linewidth=0.8, zorder=0)
        ax.set_xlabel("training time saved (% of the baseline's)")
        ax.set_ylabel("test error after the last epoch (%)")
        ax.set_title(title(panel), fontsize=9)
        ax.margins(0.12)
        explain(ax, summary)
    return figure


def explain(ax: Axes, summary: pd.DataFrame) -> None:
    """The legend: lines and shapes without their bars, and what bars and numbers mean."""
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(
        [handle.lines[0] for handle in handles],
        labels,
        title=f"{interval_note(summary)}\nbeside points: t0, or share of the steps",
        title_fontsize=8,
        fontsize=8,
    )


def draw_baselines(ax: Axes, baselines: pd.DataFrame) -> None:
    """The baseline, and the line of shorter ones that freezing has to beat."""
    ordered = baselines.sort_values("epoch_share", ascending=False)
    shorter = ordered[ordered["epoch_share"] < 1]
    if len(shorter):
        ax.plot(ordered["saved"], ordered["error"], color=SHORTER, linestyle="--", linewidth=1.2)
        style = {"color": SHORTER, "marker": "X", "linestyle": "none"}
        line_with_intervals(ax, shorter, label="baseline trained shorter", **style)
        annotate(ax, shorter, [f"{share:.0%}" for share in shorter["epoch_share"]], "0.3")
    whole = ordered[ordered["epoch_share"] == 1]
    style = {"color": BASELINE, "marker": "*", "markersize": 12, "linestyle": "none"}
    line_with_intervals(ax, whole, label="baseline", **style)


def draw_strategies(ax: Axes, summary: pd.DataFrame) -> None:
    """A line a strategy, a point a t0."""
    strategies = summary.groupby(["scaling", "scale_lr", "epoch_share"], sort=False)
    for number, (strategy, points) in enumerate(strategies):
        points = points.sort_values("t0")
        colour, marker = STRATEGIES[strategy[:2]]
        label = strategy_name(points.iloc[0])
        line_with_intervals(ax, points, color=colour, marker=marker, label=label)
        corner = CORNERS[number % len(CORNERS)]
        annotate(ax, points, [f"{t0:g}" for t0 in points["t0"]], colour, corner)


def line_with_intervals(ax: Axes, points: pd.DataFrame, **style: Any) -> None:
    """Points joined by a line, with the intervals that they have on both axes."""
    bars = {}
    for axis, column in (("xerr", "saved"), ("yerr", "error")):
        low, high = points[f"{column}_low"].astype(float), points[f"{column}_high"].astype(float)
        # NaN, for n = 1, draws no bar.
        bars[axis] = [points[column] - low, high - points[column]]
    ax.errorbar(points["saved"], points["error"], **bars, elinewidth=0.8, capsize=2, **style)


def annotate(
    ax: Axes,
    points: pd.DataFrame,
    texts: Sequence[str],
    colour: str,
    corner: tuple[int, int] = (-1, 1),
) -> None:
    """Write a text beside each point, on the side that `corner` tells."""
    right, up = corner
    style = {
        "xytext": (5 * right, 4 * up),
        "textcoords": "offset points",
        "ha": "left" if right > 0 else "right",
        "va": "bottom" if up > 0 else "top",
    }
    for x, y, text in zip(points["saved"], points["error"], texts, strict=True):
        ax.annotate(text, (x, y), fontsize=8, color=colour, **style)


def curves(panels: Sequence[Panel]) -> Figure:
    """Error against epoch and against training seconds: a line a variant, its seeds' mean."""
    figure = Figure(figsize=(2 * PANEL_WIDTH, HEIGHT * len(panels)), layout="constrained")
    rows = figure.subplots(len(panels), 2, squeeze=False, sharey="row")
    for (by_epoch, by_time), panel in zip(rows, panels, strict=True):
        measured = "val_error" if panel.runs[0].epochs[0].val_error is not None else "train_error"
        for style, rows_of in styled_variants(panel):
            curve = mean_curve(rows_of, measured)
            # A line of one epoch is a point.
            style["marker"] = "o" if len(curve) == 1 else None
            for ax, x in ((by_epoch, "epoch"), (by_time, "total_train_seconds")):
                ax.plot(curve[x], curve["mean"], **style)
                band = (curve["low"].astype(float), curve["high"].astype(float))
                ax.fill_between(curve[x], *band, color=style["color"], alpha=0.12, linewidth=0)
        name = {"val_error": "validation", "train_error": "training"}[measured]
        by_epoch.set_ylabel(f"{name} error (%)")
        by_epoch.set_xlabel("epochs trained")
        by_time.set_xlabel("training time (s)")
        by_epoch.set_title(title(panel), fontsize=9, loc="left")
        by_time.legend(
            title="mean of n seeds; bands: 95 % intervals",
            title_fontsize=8,
            fontsize=8,
            loc="upper left",
            bbox_to_anchor=(1, 1),
        )
    return figure


def mean_curve(runs: Sequence[RunResult], measured: str) -> pd.DataFrame:
    """A row an epoch: the mean over the runs of a variant with its interval, and where it stands.

    `epoch` is in epochs trained, a fraction where the last was cut short.
    """
    rows = []
    for epochs in zip(*(run.epochs for run in runs), strict=True):
        seconds = [epoch.total_train_seconds for epoch in epochs]
        rows.append(
            {
                "epoch": epochs[0].step / runs[0].record["steps_per_epoch"],
                "total_train_seconds": sum(seconds) / len(seconds),
                **vars(stats.mean_interval(seed_means(runs, epochs, measured))),
            }
        )
    return pd.DataFrame(rows)


def seed_means(runs: Sequence[RunResult], epochs: Sequence[Epoch], measured: str) -> list[float]:
    """A value a seed: repeats of a seed are no further sample of the method."""
    by_seed: dict[int, list[float]] = {}
    for run, epoch in zip(runs, epochs, strict=True):
        by_seed.setdefault(run.record["run"]["seed"], []).append(getattr(epoch, measured))
    return [sum(values) / len(values) for values in by_seed.values()]


def styled_variants(panel: Panel) -> list[tuple[dict[str, Any], list[RunResult]]]:
    """Line style and runs of each variant, in the order of the experiment."""
    by_variant: dict[str, list[RunResult]] = {}
    for run, variant in zip(panel.runs, panel.table["variant"], strict=True):
        by_variant.setdefault(variant, []).append(run)
    seen: dict[str, int] = {}
    styled = []
    for _, row in panel.summary.iterrows():
        colour, label = variant_style(row)
        line = LINES[seen.get(colour, 0) % len(LINES)]
        seen[colour] = seen.get(colour, 0) + 1
        style = {"color": colour, "linestyle": line, "linewidth": 1.5}
        style["label"] = f"{label} (n = {row['n']})"
        styled.append((style, by_variant[row["variant"]]))
    return styled


def variant_style(row: pd.Series) -> tuple[str, str]:
    """Colour and label of a variant."""
    if row["method"] == "baseline":
        return BASELINE if row["epoch_share"] == 1 else SHORTER, f"baseline{share_note(row)}"
    colour, _ = STRATEGIES[row["scaling"], row["scale_lr"]]
    return colour, f"{strategy_name(row)}, t0 = {row['t0']:g}"


def strategy_name(row: pd.Series) -> str:
    rates = "scaled" if row["scale_lr"] else "unscaled"
    return f"FreezeOut {row['scaling']}, {rates} rates{share_note(row)}"


def share_note(row: pd.Series) -> str:
    return "" if row["epoch_share"] == 1 else f", {row['epoch_share']:.0%} of the steps"


def title(panel: Panel) -> str:
    """Network, data, sizes, epochs, seeds and device, in three lines."""
    record = panel.runs[0].record
    run, used = record["run"], record["run"]["data_used"]
    return (
        f"{run['model']['title']} on {name_used(used['name'], run['data']['dataset'])}, "
        f"augmentation: {run['data']['augment']}\n"
        f"{used['train_images']:,} training images, {run['train']['epochs']} epochs, "
        f"{used['test_images']:,} test images, {seeds_note(panel)}\n{device_note(panel)}"
    )


def device_note(panel: Panel) -> str:
    devices = {
        environment["gpu"] or f"{environment['processor']}, {environment['threads']} threads"
        for environment in (run.record["environment"] for run in panel.runs)
    }
    return " and ".join(sorted(devices))


def seeds_note(panel: Panel) -> str:
    seeds = sorted(set(panel.table["seed"].tolist()))
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"seeds {', '.join(str(seed) for seed in seeds)}"


def interval_note(summary: pd.DataFrame) -> str:
    """What the bars are and how many runs stand behind a point."""
    counts = sorted(set(summary["pairs"].tolist()))
    n = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return f"n = {n}" + (", bars: 95 % intervals" if counts[-1] > 1 else ", so no interval")


KINDS: dict[str, Callable[[Sequence[Panel]], Figure]] = {
    "speedup-error": speedup_error,
    "curves": curves,
}
