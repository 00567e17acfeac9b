"""All methods by time and error, and the front that no other beats."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fobench import variants
from fobench.figures.labels import Label, write_beside
from fobench.figures.style import (
    Style,
    count_note,
    frame,
    legend_below,
    row_of_axes,
    styles,
    with_pairs,
)
from fobench.panel import Panel

PALE = 0.4
# Where texts stand beside points: first where the front, which falls to the right, leaves room.
SIDES = ((1, 1), (-1, -1), (-1, 1), (1, -1))


def pareto(panels: Sequence[Panel]) -> Figure:
    """A point a variant, its time as a share of the baseline's; those off the front are pale."""
    panels = with_pairs(panels)
    figure, axes = row_of_axes(panels)
    known = styles(panels)
    paired = [panel.summary[panel.summary["pairs"] > 0] for panel in panels]
    for ax, summary in zip(axes, paired, strict=True):
        front = summary[summary["on_front"]].sort_values("saved", ascending=False)
        ax.step(
            100 - front["saved"],
            front["error"],
            where="post",
            color="0.3",
            linewidth=1.2,
            label="Pareto front: nothing is both faster and more accurate",
        )
        for _, row in summary.iterrows():
            draw_variant(ax, row, known[variants.strategy(row["options"])])
        ax.set_xlabel("training time (% of the baseline's)")
    points = pd.concat(paired)
    frame(axes[0], 100 - points["saved"], points["error"])
    axes[0].set_ylabel("test error after the last epoch (%)")
    note = f"{count_note(panels)}; beside points: t0, or share of the baseline's steps"
    legend_below(figure, axes, note)
    for ax, summary in zip(axes, paired, strict=True):
        write_beside(ax, [label_of(row) for _, row in summary.iterrows()], SIDES)
    return figure


def draw_variant(ax: Axes, row: pd.Series, style: Style) -> None:
    """A variant's point; pale if it is off the front."""
    name, size = variants.strategy(row["options"]), 12 if style.marker == "*" else 7
    # For the legend, which shall not be pale.
    ax.plot([], [], label=name, linestyle="none", **style.points)
    look = {"markersize": size, "linestyle": "none", "alpha": strength(row)}
    ax.plot(100 - row["saved"], row["error"], **style.points, **look)


def label_of(row: pd.Series) -> Label:
    """What tells a point from the others of its strategy."""
    text = variants.point(row["options"])
    return Label(100 - row["saved"], row["error"], text, "black", strength(row))


def strength(row: pd.Series) -> float:
    """How opaque a variant is drawn."""
    return 1.0 if row["on_front"] else PALE
