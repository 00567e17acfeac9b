"""Draws the figure: a panel for each network, time saved against t0."""

from collections.abc import Sequence
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from paper_scale import (
    BATCH,
    EPOCHS,
    IMAGES,
    SCALINGS,
    T0S,
    TOTAL_STEPS,
    Measured,
    baseline_seconds,
    counts,
    flops_saved_percent,
    saved_percent,
)

from fobench.figures.style import (
    HEIGHT,
    PANEL_WIDTH,
    SHORTER,
    drawable,
    legend_below,
)
from fobench.methods.freezeout import LOOKS

CLAIM, CLAIMED_FOR = 20, ("DenseNet", "WideResNet")  # percent, of the paper's abstract
PANEL = 0.72  # of the other figures' width
CHARACTERS = 11.0  # an inch
NOTE_CHARACTERS = 100  # a line


def draw(panels: Sequence[Measured]) -> Figure:
    figure = Figure(
        figsize=(PANEL * PANEL_WIDTH * max(2, len(panels)), HEIGHT), layout="constrained"
    )
    axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    for ax, panel in zip(axes, panels, strict=True):
        draw_panel(ax, panel)
    axes[0].set_ylabel("training time saved (% of the baseline's)")
    figure.suptitle(drawable(title_of(panels, figure.get_figwidth())), fontsize=10)
    legend_below(figure, list(axes), note(panels))
    return figure


def draw_panel(ax: Axes, panel: Measured) -> None:
    units, baseline = len(panel.steps), baseline_seconds(panel, TOTAL_STEPS)
    for scaling in SCALINGS:
        taken = [counts(units, scaling, t0, TOTAL_STEPS) for t0 in T0S]
        colour, marker = LOOKS[scaling, True]
        look = {"color": colour, "marker": marker, "markersize": 5}
        saved = [saved_percent(panel.steps, panel.changes, each, baseline) for each in taken]
        ax.plot(T0S, saved, label=f"{scaling}, frozen units run", **look)
        if panel.stored is not None:
            saved = [
                saved_percent(panel.stored, panel.stored_changes, each, baseline) for each in taken
            ]
            open_look = {"linestyle": "--", "markerfacecolor": "white"}
            ax.plot(T0S, saved, label=f"{scaling}, activations stored", **look | open_look)
        flops = [flops_saved_percent(panel.network, scaling, t0) for t0 in T0S]
        if None not in flops:
            thin = {"color": colour, "linestyle": ":", "linewidth": 1}
            ax.plot(T0S, flops, label=f"{scaling}, by FLOPs", **thin)
    if panel.network.startswith(CLAIMED_FOR):
        ax.axhline(
            CLAIM, color=SHORTER, linewidth=0.8, zorder=0, label=f"the paper's claim, {CLAIM} %"
        )
    ax.axhline(0, color="0.85", linewidth=0.8, zorder=0)
    ax.set_xticks(T0S)
    ax.set_xlabel("t0")
    ax.set_title(drawable(f"{panel.network}\n{whole_step(panel)}"), fontsize=9)


def whole_step(panel: Measured) -> str:
    """The step with nothing frozen, and how it drifted."""
    times = [1000 * seconds for seconds in panel.whole]
    return (
        f"a step with nothing frozen: {min(times):.3g} to {max(times):.3g} ms, "
        f"timed {len(times)} times"
    )


def title_of(panels: Sequence[Measured], inches: float) -> str:
    rows = [row for panel in panels for row in panel.rows]

    def all_of(name: str) -> str:
        return " and ".join(dict.fromkeys(row[name] for row in rows))

    modes = {"graph": "captured as CUDA graphs", "eager": "operation by operation"}
    steps = " and ".join(modes[mode] for mode in dict.fromkeys(row["mode"] for row in rows))
    measured = (
        f"{all_of('device')}, torch {all_of('torch')}, {all_of('precision')}, batches of "
        f"{all_of('batch')}, steps {steps}, n = {all_of('steps')} steps at each depth"
    )
    title = "Time that FreezeOut saves at the paper's scale, from measured step times"
    return "\n".join([title, *wrap(measured, int(CHARACTERS * inches))])


def note(panels: Sequence[Measured]) -> str:
    text = (
        f"{TOTAL_STEPS:,} steps: {IMAGES:,} images, {EPOCHS} epochs, batches of {BATCH}. "
        "Scaled and unscaled rates take equal time. Captures count."
    )
    if any(panel.stored is not None for panel in panels):
        text += " Stores cost nothing here: neither building nor reading them counts."
    return "\n".join(wrap(text, NOTE_CHARACTERS))
