"""Time saved against test error, in the manner of the FreezeOut paper's figure."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fobench import variants
from fobench.errors import UserError
from fobench.figures.style import SHORTER, Style, interval_note, legend_below, row_of_axes, styles
from fobench.panel import Panel

ENVELOPE = 0.03  # relative error that the paper calls little
# Where strategies have the t0 beside their points: each its own side, so that close ones stay
# legible, and first those that lines, which mostly rise to the right, leave free.
CORNERS = ((1, -1), (-1, 1), (1, 1), (-1, -1))


def speedup_error(panels: Sequence[Panel]) -> Figure:
    """A line a strategy, a point a t0; the shorter baselines are the line to beat."""
    for panel in panels:
        if not panel.summary["pairs"].any():
            raise UserError(
                f"{panel.folder}: no run has its baseline from the same machine beside it, neither "
                "resumed: run that first, or give --include-resumed"
            )
    figure, axes = row_of_axes(panels)
    known = styles(panels)
    for ax, panel in zip(axes, panels, strict=True):
        summary = panel.summary[panel.summary["pairs"] > 0]
        draw_envelope(ax, summary)
        draw_shorter(ax, summary)
        names = [variants.strategy(options) for options in summary["options"]]
        lines = [name for name in dict.fromkeys(names) if known[name].colour != SHORTER]
        for number, name in enumerate(lines):
            points = summary[[each == name for each in names]]
            draw_strategy(ax, points, name, known[name], CORNERS[number % len(CORNERS)])
        for name in dict.fromkeys(names):
            if known[name].marker == "p":
                draw_strategy(ax, summary[[each == name for each in names]], name, known[name])
        ax.axvline(0, color="0.85", linewidth=0.8, zorder=0)
        ax.set_xlabel("training time saved (% of the baseline's)")
        ax.margins(0.12)
    axes[0].set_ylabel("test error after the last epoch (%)")
    note = f"{interval_note(panels)}; beside points: t0, or share of the baseline's steps"
    legend_below(figure, axes, note)
    return figure


def draw_envelope(ax: Axes, summary: pd.DataFrame) -> None:
    """Shade what lies within 3 % of the baseline's error."""
    whole = summary[[variants.is_whole_baseline(options) for options in summary["options"]]]
    for error in whole["error"]:
        ends = error * (1 - ENVELOPE), error * (1 + ENVELOPE)
        label = f"within {ENVELOPE:.0%} of the baseline's error"
        ax.axhspan(*ends, color="0.93", linewidth=0, zorder=-1, label=label)


def draw_shorter(ax: Axes, summary: pd.DataFrame) -> None:
    """The baselines trained for fewer steps, annealed to their end: the line to beat."""
    plain = summary[[variants.is_baseline(options) for options in summary["options"]]]
    shares = pd.Series([options["epoch_share"] for options in plain["options"]], index=plain.index)
    ordered = plain.loc[shares.sort_values(ascending=False).index]
    shorter = ordered[shares[ordered.index] < 1]
    if shorter.empty:
        return
    ax.plot(ordered["saved"], ordered["error"], color=SHORTER, linestyle="--", linewidth=1.2)
    style = {"color": SHORTER, "marker": "X", "linestyle": "--"}
    with_intervals(ax, shorter, label="baseline trained shorter: the line to beat", **style)
    annotate(ax, shorter, [f"{shares[index]:.0%}" for index in shorter.index], "0.3")


def draw_strategy(
    ax: Axes, points: pd.DataFrame, name: str, style: Style, corner: tuple[int, int] = (1, -1)
) -> None:
    """A strategy's points, in the order of t0, with the line that joins them."""
    t0s = pd.Series([options.get("t0") for options in points["options"]], index=points.index)
    points = points.loc[t0s.sort_values().index]
    size = 12 if style.marker == "*" else 7
    look = style.points | {"linestyle": style.line if len(points) > 1 else "none"}
    with_intervals(ax, points, label=name, markersize=size, **look)
    texts = ["" if t0 is None else f"{t0:g}" for t0 in t0s[points.index]]
    annotate(ax, points, texts, style.colour, corner)


def with_intervals(ax: Axes, points: pd.DataFrame, **style: Any) -> None:
    """Points joined by a line, with the intervals that they have on both axes."""
    bars = {}
    for axis, column in (("xerr", "saved"), ("yerr", "error")):
        low, high = points[f"{column}_low"].astype(float), points[f"{column}_high"].astype(float)
        # NaN, for n = 1, draws no bar.
        bars[axis] = [points[column] - low, high - points[column]]
    ax.errorbar(points["saved"], points["error"], **bars, elinewidth=0.6, capsize=2, **style)


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
