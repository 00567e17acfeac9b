"""Error against epochs and against training seconds."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fobench.evidence.intervals import mean_interval
from fobench.evidence.results import ExperimentResults
from fobench.figures.style import (
    HEIGHT,
    LINES,
    PANEL_WIDTH,
    Style,
    styles,
    title_of,
    write_in_the_middle,
)
from fobench.records.epochs import Epoch
from fobench.records.runs import RunResult

END_SIZE = 5  # of a line's marker


def draw(panels: Sequence[ExperimentResults]) -> Figure:
    """One line per variant: the mean over its seeds, with an interval at its end."""
    figure = Figure(figsize=(2 * PANEL_WIDTH + 2, HEIGHT * len(panels)), layout="constrained")
    rows = figure.subplots(len(panels), 2, squeeze=False, sharey="row")
    known = styles(panels)
    for (by_epoch, by_time), panel in zip(rows, panels, strict=True):
        means: list[float] = []
        measured = "val_error" if panel.runs[0].epochs[0].val_error is not None else "train_error"
        drawn: dict[str, int] = {}
        for row, runs in panel.variants():
            style = known[row["method"].line()]
            number = drawn[style.colour] = drawn.get(style.colour, -1) + 1
            curve = mean_curve(runs, measured)
            means += curve["mean"].tolist()
            timed = panel.timed(runs)
            label = f"{row['method'].label()} ({seeds_note(runs, timed)})"
            seconds = mean_seconds(timed)
            for ax, x in ((by_epoch, curve["epoch"]), (by_time, seconds)):
                line = {"linestyle": LINES[number % len(LINES)], "linewidth": 1.3, "label": label}
                if len(x):
                    end = {"markevery": [-1], "markersize": END_SIZE}
                    ax.plot(x, curve["mean"], **style.points, **line, **end)
                    draw_interval(ax, x.iloc[-1], curve.iloc[-1], style)
        room = 0.1 * (max(means) - min(means)) or 1.0
        by_epoch.set_ylim(min(means) - room, max(means) + room)
        name = {"val_error": "validation", "train_error": "training"}[measured]
        by_epoch.set_ylabel(f"{name} error (%)")
        by_epoch.set_xlabel("epochs trained")
        by_time.set_xlabel("training time (s)")
        by_epoch.set_title(title_of(panel), fontsize=9, loc="left")
        if not by_time.lines:
            write_in_the_middle(by_time, "no run's time counts")
        note = "mean of n seeds; at the ends 95 % intervals,\ncut off at the frame"
        if any(method.ensemble_size > 1 for method in panel.summary["method"]):
            note += ";\nof an ensemble, the member that is being trained"
        by_time.legend(
            *by_epoch.get_legend_handles_labels(),
            title=note,
            title_fontsize=8,
            fontsize=8,
            loc="upper left",
            bbox_to_anchor=(1, 1),
            handlelength=4,  # room for dashes beside the marker
        )
    return figure


def seeds_note(runs: Sequence[RunResult], timed: Sequence[RunResult]) -> str:
    """The numbers of seeds of the errors and of the times."""
    errors, times = (len({run.record["run"]["seed"] for run in each}) for each in (runs, timed))
    return f"n = {errors}" if times == errors else f"n = {errors} of errors, {times} of times"


def mean_seconds(runs: Sequence[RunResult]) -> pd.Series:
    """Training seconds to each epoch's end, the mean over runs; empty without runs."""
    rows = zip(*(run.epochs for run in runs), strict=True)
    return pd.Series(
        [sum(epoch.total_train_seconds for epoch in row) / len(row) for row in rows], dtype=float
    )


def draw_interval(ax: Axes, x: float, end: pd.Series, style: Style) -> None:
    """The interval of a line's last point, if it has one."""
    if end["low"] is not None:
        bars = [[end["mean"] - end["low"]], [end["high"] - end["mean"]]]
        look = {"fmt": "none", "ecolor": style.colour, "capsize": 2, "elinewidth": 0.6}
        ax.errorbar([x], [end["mean"]], yerr=bars, **look)


def mean_curve(runs: Sequence[RunResult], measured: str) -> pd.DataFrame:
    """One row per epoch: the mean over the seeds of a variant, with its interval.

    `epoch` is the number of epochs trained, fractional if the last is partial.
    """
    rows = []
    for epochs in zip(*(run.epochs for run in runs), strict=True):
        rows.append(
            {
                "epoch": epochs[0].step / runs[0].record["steps_per_epoch"],
                **vars(mean_interval(seed_means(runs, epochs, measured))),
            }
        )
    return pd.DataFrame(rows)


def seed_means(runs: Sequence[RunResult], epochs: Sequence[Epoch], measured: str) -> list[float]:
    """One value per seed: repeats of a seed are not further samples of the method."""
    by_seed: dict[int, list[float]] = {}
    for run, epoch in zip(runs, epochs, strict=True):
        by_seed.setdefault(run.record["run"]["seed"], []).append(getattr(epoch, measured))
    return [sum(values) / len(values) for values in by_seed.values()]
