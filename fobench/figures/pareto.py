"""All methods by time and error, and the front that no other beats."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from fobench import variants
from fobench.figures.style import interval_note, legend_below, row_of_axes, styles
from fobench.panel import Panel


def pareto(panels: Sequence[Panel]) -> Figure:
    """A point a variant, its time as a share of the baseline's; those off the front are pale."""
    figure, axes = row_of_axes(panels)
    known = styles(panels)
    for ax, panel in zip(axes, panels, strict=True):
        summary = panel.summary[panel.summary["pairs"] > 0]
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
            style = known[variants.strategy(row["options"])]
            look = style.points | {"linestyle": "none", "alpha": 1 if row["on_front"] else 0.35}
            x, y = 100 - row["saved"], row["error"]
            size = 12 if style.marker == "*" else 7
            ax.plot(x, y, label=variants.strategy(row["options"]), markersize=size, **look)
            note = beside(row["options"])
            ax.annotate(
                note, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=7,
                alpha=look["alpha"],
            )  # fmt: skip
        ax.set_xlabel("training time (% of the baseline's)")
        ax.margins(0.12)
    axes[0].set_ylabel("test error after the last epoch (%)")
    legend_below(figure, axes, f"{interval_note(panels).partition(',')[0]}; beside points: t0")
    return figure


def beside(options: variants.Options) -> str:
    """What is written beside a point: its t0, or its share of the steps."""
    if "t0" in options:
        return f"{options['t0']:g}"
    return "" if options["epoch_share"] == 1 else f"{options['epoch_share']:.0%}"
