"""Time saved against test error, similar to the FreezeOut paper's figure."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from fobench.evidence.line_to_beat import line_of
from fobench.evidence.results import ExperimentResults
from fobench.figures.labels import Label, draw_labels
from fobench.figures.last_members import (
    draw_last_member,
    errors_drawn,
    explain_last_members,
    last_member_label,
)
from fobench.figures.style import (
    SHORTER,
    Style,
    explain_open_points,
    frame,
    interval_note,
    legend_below,
    paired,
    paired_axes,
    points_note,
    styles,
)

ENVELOPE = 0.03  # relative increase in error that the paper considers small


def draw(panels: Sequence[ExperimentResults]) -> Figure:
    """One point per variant, similar ones joined; shorter baselines form the line to beat."""
    panels, figure, axes = paired_axes(panels)
    known, summaries = styles(panels), paired(panels)
    points = pd.concat(summaries)
    for ax, summary in zip(axes, summaries, strict=True):
        draw_envelope(ax, summary)
        draw_line_to_beat(ax, summary)
        for _, row in summary.iterrows():
            draw_last_member(ax, row["saved"], row, known[row["method"].line()])
        names = [method.line() for method in summary["method"]]
        for name in dict.fromkeys(names):
            draw_line(ax, summary[[each == name for each in names]], name, known[name])
        explain_last_members(ax, points)
        explain_open_points(ax, summary)
        ax.axvline(0, color="0.85", linewidth=0.8, zorder=0)
        ax.set_xlabel("training time saved (% of the baseline's)")
    for ax, summary in zip(axes, summaries, strict=True):
        frame(ax, points["saved"], errors_drawn(summary))
    legend_below(figure, axes, f"{interval_note(panels)}\n{points_note(panels)}")
    for ax, summary in zip(axes, summaries, strict=True):
        labels = [labels_of(row, known[row["method"].line()]) for _, row in summary.iterrows()]
        draw_labels(ax, [label for each in labels for label in each])
    return figure


def draw_envelope(ax: Axes, summary: pd.DataFrame) -> None:
    """Shade the range within 3 % of the baseline's error."""
    whole = summary[[method.is_whole_baseline for method in summary["method"]]]
    for error in whole["error"]:
        ends = error * (1 - ENVELOPE), error * (1 + ENVELOPE)
        label = f"within {ENVELOPE:.0%} of the baseline's error"
        ax.axhspan(*ends, color="0.93", linewidth=0, zorder=-1, label=label)


def draw_line_to_beat(ax: Axes, summary: pd.DataFrame) -> None:
    """Join the baselines trained for fewer steps with the whole one."""
    ordered = line_of(summary)
    if len(ordered) > 1:
        label = "the line to beat"
        line = {"color": SHORTER, "linestyle": "--", "linewidth": 1.2}
        ax.plot(ordered["saved"], ordered["error"], label=label, **line)


def draw_line(ax: Axes, points: pd.DataFrame, name: str, style: Style) -> None:
    """The points of a line, joined; open ones where the time is predicted."""
    points = points.iloc[argsort(method.position() for method in points["method"])]
    joined = len(points) > 1 and not points["method"].iloc[0].is_baseline
    line = style.line if joined else "none"
    ax.plot(points["saved"], points["error"], color=style.colour, linestyle=line)
    # The legend shows the line and its marker, whichever of its points are open.
    ax.plot([], [], label=name, markersize=style.size, **style.points, linestyle=line)
    predicted = points["predicted"]
    for part, look in ((~predicted, style.points), (predicted, style.open_points)):
        if part.any():
            draw_intervals(ax, points[part], markersize=style.size, linestyle="none", **look)


def argsort(keys: Iterable[float]) -> list[int]:
    """The indices that sort the keys."""
    return [place for _, place in sorted((key, place) for place, key in enumerate(keys))]


def draw_intervals(ax: Axes, points: pd.DataFrame, **style: Any) -> None:
    """Points with their intervals on both axes."""
    bars = {}
    for axis, column in (("xerr", "saved"), ("yerr", "error")):
        low, high = points[f"{column}_low"].astype(float), points[f"{column}_high"].astype(float)
        # NaN (n = 1) draws no bar.
        bars[axis] = [points[column] - low, high - points[column]]
    look = {"elinewidth": 0.8, "capsize": 2, "ecolor": to_rgba(style["color"], 0.5)}
    ax.errorbar(points["saved"], points["error"], **bars, **look, **style)


def labels_of(row: pd.Series, style: Style) -> list[Label]:
    """The text that distinguishes a point from the others on its line."""
    x = row["saved"]
    label = Label(x, row["error"], row["method"].point(), style.colour)
    return [label, *last_member_label(x, row, style)]
