"""Training time against error of all methods, with the Pareto front."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fobench.evidence.results import ExperimentResults
from fobench.figures.labels import Label, draw_labels
from fobench.figures.last_members import (
    draw_last_member,
    errors_drawn,
    explain_last_members,
    last_member_label,
)
from fobench.figures.style import (
    Style,
    count_note,
    explain_open_points,
    frame,
    legend_below,
    paired,
    paired_axes,
    points_note,
    styles,
)

PALE_ALPHA = 0.4
PALE = "pale: off the front"


def draw(panels: Sequence[ExperimentResults]) -> Figure:
    """One point per variant, its time relative to the baseline's; points off the front are pale."""
    panels, figure, axes = paired_axes(panels)
    known, summaries = styles(panels), paired(panels)
    points = pd.concat(summaries)
    for ax, summary in zip(axes, summaries, strict=True):
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
            draw_variant(ax, row, known[row["method"].line()])
        explain_last_members(ax, points)
        explain_open_points(ax, summary)
        ax.set_xlabel("training time (% of the baseline's)")
    for ax, summary in zip(axes, summaries, strict=True):
        frame(ax, 100 - points["saved"], errors_drawn(summary))
    notes = [count_note(panels), points_note(panels), *([] if points["on_front"].all() else [PALE])]
    legend_below(figure, axes, "; ".join(filter(None, notes)))
    for ax, summary in zip(axes, summaries, strict=True):
        labels = [labels_of(row, known[row["method"].line()]) for _, row in summary.iterrows()]
        draw_labels(ax, [label for each in labels for label in each])
    return figure


def draw_variant(ax: Axes, row: pd.Series, style: Style) -> None:
    """A variant's point; pale if it is off the front, open if its time is predicted."""
    draw_last_member(ax, 100 - row["saved"], row, style, opacity(row))
    # An empty plot for the legend, which must be neither.
    ax.plot([], [], label=row["method"].line(), linestyle="none", **style.points)
    look = {"markersize": style.size, "linestyle": "none", "alpha": opacity(row)}
    look |= style.open_points if row["predicted"] else style.points
    ax.plot(100 - row["saved"], row["error"], **look)


def labels_of(row: pd.Series, style: Style) -> list[Label]:
    """The text that distinguishes a point from the others on its line."""
    x = 100 - row["saved"]
    label = Label(x, row["error"], row["method"].point(), "black", opacity(row))
    return [label, *last_member_label(x, row, style)]


def opacity(row: pd.Series) -> float:
    """How opaque a variant is drawn."""
    return 1.0 if row["on_front"] else PALE_ALPHA
