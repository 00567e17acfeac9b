"""How training time is spent, by method."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from fobench.errors import UserError
from fobench.evidence.results import ExperimentResults
from fobench.evidence.store_savings import seconds_by_epoch
from fobench.figures.style import PANEL_WIDTH, legend_below, title_of
from fobench.records.runs import RunResult

# Epochs by the share of units frozen at their end; hatching for print without colour.
PHASES = {
    "nothing frozen": (0.0, "#0072B2", ""),
    "up to half of the units frozen": (0.5, "#56B4E9", "//"),
    "more than half of the units frozen": (1.0, "#E69F00", ".."),
}
STORES = ("building and reading stores of activations", "#D55E00", "||")
EVALUATION = ("evaluation (not in the training time)", "0.8", "xx")
BAR, LABELS = 0.32, 2.0  # inches


def draw(panels: Sequence[ExperimentResults]) -> Figure:
    """One bar per variant: mean seconds over n timed runs, by phases, stores and evaluation.

    Raises UserError if no run's time counts.
    """
    if not any(panel.timed(panel.runs) for panel in panels):
        raise UserError(
            f"{panels[0].folder}: no run's time counts, as each was trained beside others or "
            "resumed: train again without --untimed and --jobs, or give --include-resumed"
        )
    longest = max(len(panel.summary) for panel in panels)
    size = ((PANEL_WIDTH + LABELS) * len(panels), 2.2 + BAR * longest)
    figure = Figure(figsize=size, layout="constrained")
    # Methods differ from experiment to experiment, so only the seconds are shared.
    axes = figure.subplots(1, len(panels), squeeze=False, sharex=True)[0]
    for ax, panel in zip(axes, panels, strict=True):
        ax.set_title(title_of(panel), fontsize=9, loc="right")
        labels = []
        for place, (row, runs) in enumerate(panel.variants()):
            timed = panel.timed(runs)
            count = f"n = {len(timed)}" if timed else "no times"
            labels.append(f"{row['method'].label()} ({count})")
            left = 0.0
            for name, (seconds, colour, hatch) in mean_phases(timed).items():
                style = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
                ax.barh(place, seconds, left=left, label=name, **style)
                left += seconds
        ax.set_yticks(range(len(labels)), labels, fontsize=8)
        ax.set_ylim(longest - 0.5, -0.5)
        ax.set_xlabel("seconds, mean over n timed runs")
    legend_below(figure, list(axes), "epochs by what is frozen at their end")
    return figure


def mean_phases(runs: Sequence[RunResult]) -> dict[str, tuple[float, str, str]]:
    """Seconds, colour and hatching of each phase, of stores and of the evaluation."""
    count = max(1, len(runs))
    found, above = {}, -1.0
    for name, (share, colour, hatch) in PHASES.items():
        seconds = sum(
            epoch.train_seconds - stores
            for run in runs
            for epoch, stores in zip(run.epochs, seconds_by_epoch(run), strict=True)
            if above < epoch.frozen_units / len(run.record["units"]) <= share
        )
        found[name] = (seconds / count, colour, hatch)
        above = share
    others = {
        STORES: sum(sum(seconds_by_epoch(run)) for run in runs),
        EVALUATION: sum(run.eval_seconds for run in runs),
    }
    for (name, colour, hatch), seconds in others.items():
        if seconds:
            found[name] = (seconds / count, colour, hatch)
    return found
