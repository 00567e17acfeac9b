"""Short texts next to points, kept clear of markers and of each other by adjustText."""

from collections.abc import Sequence
from dataclasses import dataclass

from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

FONT_SIZE = 8  # points of 1/72 inch
HALO = [withStroke(linewidth=2, foreground="white")]  # keeps a text legible on lines
# A fixed number rather than a time limit, so that figures are reproducible.
ITERATIONS = 300
MARGIN = (1.6, 1.9)  # around a text, relative to its width and height, for the marker next to it
ARROW = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.6}


@dataclass(frozen=True)
class Label:
    """The text next to the point (x, y) of a panel; empty if there is only a marker."""

    x: float
    y: float
    text: str
    colour: str
    alpha: float = 1.0


def draw_labels(ax: Axes, labels: Sequence[Label]) -> None:
    """Draw all labels of a panel.

    Must be called last, as it depends on where the points are in the finished figure.
    """
    ax.figure.draw_without_rendering()
    written = [label for label in labels if label.text]
    texts = [
        ax.text(
            label.x,
            label.y,
            label.text,
            fontsize=FONT_SIZE,
            color=label.colour,
            alpha=label.alpha,
            path_effects=HALO,
            clip_on=True,
        )
        for label in written
    ]
    if texts:
        adjust_text(
            texts,
            x=[label.x for label in labels],
            y=[label.y for label in labels],
            target_x=[label.x for label in written],
            target_y=[label.y for label in written],
            ax=ax,
            expand=MARGIN,
            iter_lim=ITERATIONS,
            arrowprops=ARROW,
        )
