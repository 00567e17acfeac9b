"""Beside the point of an ensemble, the test error of its last member alone."""

import math

import pandas as pd
from matplotlib.axes import Axes

from fobench.figures.labels import Label
from fobench.figures.style import Style

# A cross has no face, so it says nothing of how its time is known.
CROSS = {"marker": "x", "markersize": 5, "linestyle": ":", "linewidth": 1}
EXPLANATION = "the last member of an ensemble alone; running all costs {} × the FLOPs of one"


def draw_last_member(ax: Axes, x: float, row: pd.Series, style: Style, alpha: float = 1.0) -> None:
    """Join an ensemble's point at `x` with that of its last member; nothing for a single model.

    Nor for ensembles that were trained for fewer steps: they are what others are compared with.
    """
    if has_last_member(row):
        ends = row["error"], row["last_error"]
        ax.plot([x, x], ends, color=style.colour, alpha=alpha, markevery=[1], **CROSS)


def has_last_member(row: pd.Series) -> bool:
    """Whether the last member of a variant is drawn."""
    return not math.isnan(row["last_error"]) and row["method"].epoch_share == 1


def explain_last_members(ax: Axes, points: pd.DataFrame) -> None:
    """An entry in the legend if there is an ensemble among the points of all panels."""
    drawn = points[[has_last_member(row) for _, row in points.iterrows()]]
    if len(drawn):
        costs = (
            f"{each:.1f}" for each in sorted(drawn["forward_flops"])[:: max(1, len(drawn) - 1)]
        )
        label = EXPLANATION.format(" to ".join(dict.fromkeys(costs)))
        ax.plot([], [], color="0.3", label=label, **CROSS)


def errors_drawn(points: pd.DataFrame) -> pd.Series:
    """The errors of all points, those of last members too."""
    alone = [row["last_error"] for _, row in points.iterrows() if has_last_member(row)]
    return pd.concat([points["error"], pd.Series(alone, dtype=float)])


def last_member_label(x: float, row: pd.Series, style: Style) -> list[Label]:
    """The place of a last member, which texts are kept clear of; empty if none is drawn."""
    return [Label(x, row["last_error"], "", style.colour)] if has_last_member(row) else []
