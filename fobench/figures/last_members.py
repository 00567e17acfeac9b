"""Beside the point of an ensemble, the test error of its last member alone."""

import math

import pandas as pd
from matplotlib.axes import Axes

from fobench.figures.labels import Label
from fobench.figures.style import Style

# A cross has no face, so it says nothing of how its time is known.
CROSS = {"marker": "x", "markersize": 5, "linestyle": ":", "linewidth": 1}
EXPLANATION = "the last member of an ensemble alone"


def draw_last_member(ax: Axes, x: float, row: pd.Series, style: Style, alpha: float = 1.0) -> None:
    """Join an ensemble's point at `x` with that of its last member; nothing for a single model."""
    if not math.isnan(row["last_error"]):
        ends = row["error"], row["last_error"]
        ax.plot([x, x], ends, color=style.colour, alpha=alpha, markevery=[1], **CROSS)


def explain_last_members(ax: Axes, summary: pd.DataFrame) -> None:
    """An entry in the legend if there is an ensemble."""
    if summary["last_error"].notna().any():
        ax.plot([], [], color="0.3", label=EXPLANATION, **CROSS)


def errors_drawn(summary: pd.DataFrame) -> pd.Series:
    """The errors of all points, those of last members too."""
    return pd.concat([summary["error"], summary["last_error"].dropna()])


def last_member_label(x: float, row: pd.Series, style: Style) -> list[Label]:
    """The place of a last member, which texts are kept clear of; empty for a single model."""
    error = row["last_error"]
    return [] if math.isnan(error) else [Label(x, error, "", style.colour)]
