"""Time saved against test error, in the manner of the FreezeOut paper's figure."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from fobench import variants
from fobench.figures.labels import Label, write_beside
from fobench.figures.style import (
    SHORTER,
    Style,
    frame,
    interval_note,
    legend_below,
    row_of_axes,
    styles,
    with_pairs,
)
from fobench.panel import Panel

ENVELOPE = 0.03  # relative error that the paper calls little
# Where texts stand beside points: first where lines, which mostly rise to the right, leave room.
SIDES = ((1, -1), (-1, 1), (1, 1), (-1, -1))


def speedup_error(panels: Sequence[Panel]) -> Figure:
    """A line a strategy, a point a t0; the shorter baselines are the line to beat."""
    panels = with_pairs(panels)
    figure, axes = row_of_axes(panels)
    known = styles(panels)
    paired = [panel.summary[panel.summary["pairs"] > 0] for panel in panels]
    for ax, summary in zip(axes, paired, strict=True):
        draw_envelope(ax, summary)
        draw_line_to_beat(ax, summary)
        names = [variants.strategy(options) for options in summary["options"]]
        for name in dict.fromkeys(names):
            draw_strategy(ax, summary[[each == name for each in names]], name, known[name])
        ax.axvline(0, color="0.85", linewidth=0.8, zorder=0)
        ax.set_xlabel("training time saved (% of the baseline's)")
    points = pd.concat(paired)
    frame(axes[0], points["saved"], points["error"])
    axes[0].set_ylabel("test error after the last epoch (%)")
    note = f"{interval_note(panels)}\nbeside points: t0, or share of the baseline's steps"
    legend_below(figure, axes, note)
    for ax, summary in zip(axes, paired, strict=True):
        write_beside(ax, [label_of(row, known) for _, row in summary.iterrows()], SIDES)
    return figure


def draw_envelope(ax: Axes, summary: pd.DataFrame) -> None:
    """Shade what lies within 3 % of the baseline's error."""
    whole = summary[[variants.is_whole_baseline(options) for options in summary["options"]]]
    for error in whole["error"]:
        ends = error * (1 - ENVELOPE), error * (1 + ENVELOPE)
        label = f"within {ENVELOPE:.0%} of the baseline's error"
        ax.axhspan(*ends, color="0.93", linewidth=0, zorder=-1, label=label)


def draw_line_to_beat(ax: Axes, summary: pd.DataFrame) -> None:
    """Join the baselines trained for fewer steps, annealed to their end, with the whole one."""
    plain = summary[[variants.is_baseline(options) for options in summary["options"]]]
    ordered = plain.iloc[argsort(-options["epoch_share"] for options in plain["options"])]
    if len(ordered) > 1:
        label = "the line to beat"
        line = {"color": SHORTER, "linestyle": "--", "linewidth": 1.2}
        ax.plot(ordered["saved"], ordered["error"], label=label, **line)


def draw_strategy(ax: Axes, points: pd.DataFrame, name: str, style: Style) -> None:
    """A strategy's points, joined in the order of t0."""
    points = points.iloc[argsort(options.get("t0", 0) for options in points["options"])]
    joined = len(points) > 1 and style.colour != SHORTER
    look = style.points | {"linestyle": style.line if joined else "none"}
    with_intervals(ax, points, label=name, markersize=12 if style.marker == "*" else 7, **look)


def argsort(keys: Iterable[float]) -> list[int]:
    """The places of the keys in ascending order."""
    return [place for _, place in sorted((key, place) for place, key in enumerate(keys))]


def with_intervals(ax: Axes, points: pd.DataFrame, **style: Any) -> None:
    """Points joined by a line, with the intervals that they have on both axes."""
    bars = {}
    for axis, column in (("xerr", "saved"), ("yerr", "error")):
        low, high = points[f"{column}_low"].astype(float), points[f"{column}_high"].astype(float)
        # NaN, for n = 1, draws no bar.
        bars[axis] = [points[column] - low, high - points[column]]
    look = {"elinewidth": 0.8, "capsize": 2, "ecolor": to_rgba(style["color"], 0.5)}
    ax.errorbar(points["saved"], points["error"], **bars, **look, **style)


def label_of(row: pd.Series, known: dict[str, Style]) -> Label:
    """What tells a point from the others of its strategy."""
    colour = known[variants.strategy(row["options"])].colour
    return Label(row["saved"], row["error"], variants.point(row["options"]), colour)
