"""The learning rate of each unit over time, and how many units are frozen."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from fobench.evidence.results import ExperimentResults
from fobench.experiment.from_record import info_of, method_of, warmup_factors
from fobench.figures.style import title_of

COLUMNS = 4
WIDTH, HEIGHT, TITLE_HEIGHT = 3.4, 3.4, 0.9
POINTS, POINTS_OF_A_CYCLE = 400, 40
CHARACTERS = 36  # per line of a title


def draw(panels: Sequence[ExperimentResults]) -> Figure:
    """Two axes per variant: the units' learning rates and, below, the share of frozen units."""
    counts = [-(-len(panel.summary) // COLUMNS) for panel in panels]
    heights = [TITLE_HEIGHT + HEIGHT * count for count in counts]
    figure = Figure(figsize=(WIDTH * COLUMNS, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(panels), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, panel, count in zip(parts, panels, counts, strict=True):
        draw_panel(part, panel, count)
    return figure


def draw_panel(figure: SubFigure, panel: ExperimentResults, count: int) -> None:
    figure.suptitle(title_of(panel), fontsize=9)
    axes = figure.subplots(
        2 * count, COLUMNS, squeeze=False, sharex=True, height_ratios=[2, 1] * count
    )
    for ax in axes.flatten():
        ax.set_axis_off()
    for number, (row, runs) in enumerate(panel.variants()):
        line, column = divmod(number, COLUMNS)
        rates, frozen = axes[2 * line, column], axes[2 * line + 1, column]
        draw_rates(rates, runs[0].record)
        draw_frozen(frozen, runs[0].record)
        rates.set_title(wrapped(row["method"].label()), fontsize=8)
        if column == 0:
            rates.set_ylabel("learning rate")
            frozen.set_ylabel("units frozen (%)")
        frozen.set_xlabel("epochs", fontsize=8)
        frozen.tick_params(labelbottom=True)
    units = len(panel.runs[0].record["units"])
    colours = matplotlib.cm.ScalarMappable(
        matplotlib.colors.Normalize(0, units - 1), matplotlib.colormaps["viridis"]
    )
    figure.colorbar(colours, ax=axes, label="unit, from the first to the head", shrink=0.6)


def wrapped(label: str) -> str:
    """A method's label on several lines if it is long, broken after commas."""
    lines: list[str] = []
    for part in label.split(", "):
        if lines and len(lines[-1]) + len(part) < CHARACTERS:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    return ",\n".join(lines)


def draw_rates(ax: Axes, record: dict[str, Any]) -> None:
    """Each unit's rate against epochs, coloured by depth."""
    ax.set_axis_on()
    points = max(POINTS, POINTS_OF_A_CYCLE * method_of(record).ensemble_size)
    progress = np.linspace(0, 1, points, endpoint=False)
    epochs = progress * record["total_steps"] / record["steps_per_epoch"]
    rates = unit_rates(record, progress)
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 1, len(rates)))
    for unit, colour in enumerate(colours):
        # Of equal rates, as of all units of a baseline, the last line hides the others.
        if not (rates[unit + 1 :] == rates[unit]).all(axis=1).any():
            ax.plot(epochs, rates[unit], color=colour, linewidth=0.9)
    ax.set_ylim(bottom=0)
    ax.tick_params(labelsize=7)


def unit_rates(record: dict[str, Any], progress: np.ndarray) -> np.ndarray:
    """Learning rates [units, steps] of a run at each progress; 0 once a unit is frozen."""
    method, info, lr = method_of(record), info_of(record), record["run"]["train"]["lr"]
    steps = progress * record["total_steps"]
    rates = np.array([method.learning_rates(step, info, lr) for step in steps]).T
    rates *= warmup_factors(record, steps)
    for unit, rates_of_unit in zip(record["units"], rates, strict=True):
        if unit["freeze_step"] is not None:
            rates_of_unit[steps >= unit["freeze_step"]] = 0
    return rates


def draw_frozen(ax: Axes, record: dict[str, Any]) -> None:
    """The share of the units that is frozen, in percent, against epochs."""
    ax.set_axis_on()
    units, per_epoch = len(record["units"]), record["steps_per_epoch"]
    steps = sorted(unit["freeze_step"] for unit in record["units"] if unit["freeze_step"])
    x = [0, *(step / per_epoch for step in steps), record["total_steps"] / per_epoch]
    y = [0, *(100 * (count + 1) / units for count in range(len(steps)))]
    ax.fill_between(x, [*y, y[-1]], step="post", color="0.75")
    ax.step(x, [*y, y[-1]], where="post", color="0.3", linewidth=0.9)
    ax.set_ylim(0, 100)
    ax.tick_params(labelsize=7)
