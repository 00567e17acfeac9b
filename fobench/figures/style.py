"""Colours, shapes and layout that all figures share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fobench import variants
from fobench.errors import UserError
from fobench.panel import Panel

PANEL_WIDTH, HEIGHT = 6.4, 5.0
LEGEND_WIDTH = 3.1  # inches of a column of the legend, at least
LETTER, HANDLE = 0.062, 0.5  # inches in a legend
ROOM = 0.25  # beside the points, as a share of the span that they take
BASELINE, SHORTER = "black", "0.45"
# Colours of Okabe and Ito, told apart by the colour-blind; shapes for print without colour.
COLOURS: dict[tuple[str, bool], tuple[str, str]] = {
    ("linear", False): ("#E69F00", "o"),
    ("linear", True): ("#D55E00", "s"),
    ("squared", False): ("#56B4E9", "v"),
    ("squared", True): ("#CC79A7", "P"),
    ("cubic", False): ("#009E73", "^"),
    ("cubic", True): ("#0072B2", "D"),
}
OTHERS = ("#F0E442", "h")
FILLS = ("full", "none", "left", "bottom")
LINES = ("-", "--", ":", "-.", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (8, 3)))


@dataclass(frozen=True)
class Style:
    """How the points and lines of a strategy are drawn."""

    colour: str
    marker: str
    line: Any = "-"
    fill: str = "full"

    @property
    def points(self) -> dict[str, Any]:
        """For matplotlib."""
        if self.fill == "none":
            return {"color": self.colour, "marker": self.marker, "markerfacecolor": "white"}
        face = {"fillstyle": self.fill, "markerfacecoloralt": "white"}
        return {"color": self.colour, "marker": self.marker, **face}


def colour_of(options: variants.Options) -> tuple[str, str]:
    """Colour and shape by what a method does to its learning rates."""
    if options["name"] == "baseline":
        if variants.is_whole_baseline(options):
            return BASELINE, "*"
        return SHORTER, "X" if variants.is_baseline(options) else "p"
    return COLOURS.get((options.get("scaling"), options.get("scale_lr")), OTHERS)


def styles(panels: Sequence[Panel]) -> dict[str, Style]:
    """A style a strategy: those of one colour differ in line and filling."""
    found: dict[str, Style] = {}
    for panel in panels:
        for options in panel.summary["options"]:
            name = variants.strategy(options)
            if name not in found:
                colour, marker = colour_of(options)
                earlier = sum(style.colour == colour for style in found.values())
                line, fill = LINES[earlier % len(LINES)], FILLS[earlier % len(FILLS)]
                found[name] = Style(colour, marker, line, fill)
    return found


def with_pairs(panels: Sequence[Panel]) -> list[Panel]:
    """The experiments in which something stands beside its baseline.

    Raises UserError if there is none.
    """
    found = [panel for panel in panels if panel.summary["pairs"].any()]
    if not found:
        raise UserError(
            f"{panels[0].folder}: no run has its baseline from the same machine beside it, neither "
            "resumed: run that first, or give --include-resumed"
        )
    return found


def row_of_axes(panels: Sequence[Panel], height: float = HEIGHT) -> tuple[Figure, list[Axes]]:
    """One row of panels with shared axes, each with its title."""
    figure = Figure(figsize=(PANEL_WIDTH * len(panels), height), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    for ax, panel in zip(axes, panels, strict=True):
        ax.set_title(panel.title, fontsize=9)
    return figure, list(axes)


def frame(ax: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    """Fit a panel and those that share its axes to points; bars that leave it are cut off.

    The interval of two seeds is so wide that it would hide everything else.
    """
    for values, limit in ((x, ax.set_xlim), (y, ax.set_ylim)):
        low, high = min(values), max(values)
        room = ROOM * (high - low) or 0.05 * max(abs(high), 1.0)
        limit(low - room, high + room)


def legend_below(figure: Figure, axes: Sequence[Axes], note: str) -> None:
    """One legend for all panels: lines and shapes without their bars, and what the bars mean."""
    handles = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle.lines[0] if hasattr(handle, "lines") else handle)
    column = max(LEGEND_WIDTH, HANDLE + LETTER * max(map(len, handles)))
    figure.legend(
        list(handles.values()),
        list(handles),
        title=note,
        title_fontsize=8,
        fontsize=8,
        loc="outside lower center",
        ncols=max(1, int(figure.get_figwidth() // column)),
    )


def interval_note(panels: Sequence[Panel]) -> str:
    """How many seeds stand behind a point, and what its bars are."""
    most = max(count for panel in panels for count in panel.summary["n"])
    bars = "bars: 95 % intervals, cut off at the frame"
    return f"{count_note(panels)}, {bars if most > 1 else 'so no interval'}"


def count_note(panels: Sequence[Panel]) -> str:
    """How many seeds stand behind the times, and how many behind the errors."""
    times, errors = (
        sorted({int(count) for panel in panels for count in panel.summary[column] if count})
        for column in ("pairs", "n")
    )
    if times == errors:
        return f"n = {span_of(times)}"
    return f"n = {span_of(times)} of times and {span_of(errors)} of errors"


def span_of(counts: Sequence[int]) -> str:
    """3, or 2 to 5."""
    return " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
