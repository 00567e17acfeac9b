"""Colours, markers and layout shared by all figures."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from textwrap import wrap
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from fobench.errors import UserError
from fobench.evidence.results import ExperimentResults

log = logging.getLogger(__name__)

FONT = "DejaVu Sans"  # matplotlib's default, which comes with it
PANEL_WIDTH, HEIGHT = 6.4, 5.0
TITLE_CHARACTERS = 76  # a line
LEGEND_WIDTH = 3.1  # minimum width of a legend column, in inches
CHARACTER, HANDLE, ROW = 0.062, 0.5, 0.19  # inches in a legend
LEGEND_ROWS = 8  # for which a figure has room
MARGIN = 0.25  # around the points, as a share of their range
SHORTER = "0.45"  # the line to beat
MARKERS = ("v", "p", "h", "P", "d", "<", ">", "o", "s", "^", "D", "8")
PREDICTED = "open: time saved predicted from the profile, not measured"
LINES = ("-", "--", ":", "-.", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (8, 3)))


@dataclass(frozen=True)
class Style:
    """The style of a line and its points."""

    colour: str
    marker: str
    line: Any = "-"

    @property
    def points(self) -> dict[str, Any]:
        """For matplotlib: points whose time was measured."""
        return {"color": self.colour, "marker": self.marker}

    @property
    def open_points(self) -> dict[str, Any]:
        """Points whose time is predicted."""
        return self.points | {"markerfacecolor": "white"}

    @property
    def size(self) -> float:
        """Of a marker, in points of 1/72 inch."""
        return 12 if self.marker == "*" else 7


def styles(panels: Sequence[ExperimentResults]) -> dict[str, Style]:
    """A style for each line: lines of the same colour differ in dashes and markers."""
    found: dict[str, Style] = {}
    for panel in panels:
        for method in panel.summary["method"]:
            name = method.line()
            if name not in found:
                colour, marker = method.look()
                earlier = [style.marker for style in found.values() if style.colour == colour]
                if marker in earlier:
                    marker = another_marker(earlier, [style.marker for style in found.values()])
                found[name] = Style(colour, marker, LINES[len(earlier) % len(LINES)])
    return found


def another_marker(of_colour: Sequence[str], of_all: Sequence[str]) -> str:
    """One that no line of the colour has, and as few of the others as possible."""
    free = [each for each in MARKERS if each not in of_colour] or MARKERS
    return min(free, key=of_all.count)


def with_times_saved(panels: Sequence[ExperimentResults]) -> list[ExperimentResults]:
    """The experiments with at least one time saved, measured or predicted.

    Raises UserError if there is none.
    """
    found = [panel for panel in panels if panel.summary["saved"].notna().any()]
    if not found:
        raise UserError(
            f"{panels[0].folder}: no time saved is known, as no run has its baseline from the same "
            "machine, both trained alone and neither resumed, and no profile was measured: run the "
            "baseline first, train again without --untimed and --jobs, or give --include-resumed"
        )
    return found


def paired_axes(
    panels: Sequence[ExperimentResults],
) -> tuple[list[ExperimentResults], Figure, list[Axes]]:
    """Axes side by side, test error on the y axis, for the experiments with times saved.

    The x axis is shared. Each panel has its own scale of errors: what counts are the distances in
    it, and one network's errors may be several times another's.
    """
    panels = with_times_saved(panels)
    figure = Figure(figsize=(PANEL_WIDTH * len(panels), HEIGHT), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharex=True)[0]
    for ax, panel in zip(axes, panels, strict=True):
        ax.set_title(title_of(panel), fontsize=9)
    axes[0].set_ylabel("test error after the last epoch (%)")
    return panels, figure, list(axes)


def title_of(panel: ExperimentResults) -> str:
    """An experiment's title as a figure can draw it: it holds the name of the user's data set."""
    lines = (wrap(line, TITLE_CHARACTERS) for line in panel.title.split("\n"))
    return drawable("\n".join(part for parts in lines for part in parts))


@cache  # several figures show a text, and one message is enough
def drawable(text: str) -> str:
    """The text with "?" for characters that the font of the figures lacks; a message says so."""
    known = get_font(findfont(FONT)).get_charmap()
    drawn = "".join(each if each == "\n" or ord(each) in known else "?" for each in text)
    for before, after in zip(text.split("\n"), drawn.split("\n"), strict=True):
        if before != after:
            log.warning(
                "the font of the figures lacks characters: %s\nis drawn as %s", before, after
            )
    return drawn


def paired(panels: Sequence[ExperimentResults]) -> list[pd.DataFrame]:
    """The variants of each experiment whose time saved is known."""
    return [panel.summary[panel.summary["saved"].notna()] for panel in panels]


def explain_open_points(ax: Axes, summary: pd.DataFrame) -> None:
    """An entry in the legend if the time of a variant is predicted."""
    if summary["predicted"].any():
        look = {"color": "0.3", "markerfacecolor": "white", "linestyle": "none"}
        ax.plot([], [], marker="o", label=PREDICTED, **look)


def write_in_the_middle(ax: Axes, text: str) -> None:
    """What an empty panel says in place of lines."""
    ax.set_xticks([])
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="0.3")


def frame(ax: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    """Fit a panel, and those that share an axis with it, to points; longer bars are cut off.

    An interval of two seeds is so wide that it would dwarf everything else.
    """
    for values, limit in ((x, ax.set_xlim), (y, ax.set_ylim)):
        low, high = min(values), max(values)
        room = MARGIN * (high - low) or 0.05 * max(abs(high), 1.0)
        limit(low - room, high + room)


def legend_below(figure: Figure, axes: Sequence[Axes], note: str) -> None:
    """One legend for all panels, without bars, and a note on what the bars mean."""
    handles: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    column = max(LEGEND_WIDTH, HANDLE + CHARACTER * max(map(len, handles)))
    columns = max(1, int(figure.get_figwidth() // column))
    rows = -(-len(handles) // columns)
    # A long legend would leave the panels no room.
    figure.set_figheight(figure.get_figheight() + ROW * max(0, rows - LEGEND_ROWS))
    figure.legend(
        list(handles.values()),
        list(handles),
        title=note,
        title_fontsize=8,
        fontsize=8,
        loc="outside lower center",
        ncols=columns,
    )


def interval_note(panels: Sequence[ExperimentResults]) -> str:
    """The number of seeds of a point, and the meaning of its bars."""
    most = max(count for panel in panels for count in panel.summary["n"])
    bars = "bars: 95 % intervals, cut off at the frame"
    return f"{count_note(panels)}, {bars if most > 1 else 'so no interval'}"


def points_note(panels: Sequence[ExperimentResults]) -> str:
    """The meaning of the texts next to points, and of the scales."""
    methods = [method for panel in panels for method in panel.summary["method"] if method.point()]
    meanings = dict.fromkeys(method.point_meaning for method in methods)
    notes = [f"beside points: {' or '.join(meanings)}"] if meanings else []
    if len(panels) > 1:
        notes.append("each panel has its own scale of errors")
    return "; ".join(notes)


def count_note(panels: Sequence[ExperimentResults]) -> str:
    """The numbers of seeds of errors and of times, over the points whose time saved is known."""
    points = pd.concat(paired(panels))
    errors, times = (sorted(set(points[column].tolist())) for column in ("n", "pairs"))
    if times == errors:
        return f"n = {format_range(errors)} of errors and of times"
    of_times = "no times" if times == [0] else f"{format_range(times)} of times"
    return f"n = {format_range(errors)} of errors, {of_times}"


def format_range(counts: Sequence[int]) -> str:
    """3, or 2 to 5."""
    return " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
