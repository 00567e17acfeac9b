"""What the variants of an experiment are called in figures and tables. No torch."""

from collections.abc import Callable
from typing import Any

Options = dict[str, Any]


def share_note(options: Options) -> str:
    share = options["epoch_share"]
    return "" if share == 1 else f", {share:.0%} of the steps"


def baseline_name(options: Options) -> str:
    return "baseline" if is_baseline(options) else "baseline at a constant rate"


def inputs_note(options: Options) -> str:
    """Which images a method that freezes sees, and what it stores of them."""
    views, notes = options.get("views"), ""
    if views:
        notes += f", {views} view{'s' * (views > 1)}"
    if options.get("precompute"):
        notes += f", stored as {options['store']}"
        notes += "" if options["budget"] == "auto" else f" in {options['budget']}"
        if options["plan"] is not None:
            notes += " by plan " + " ".join(f"{epoch}:{cut}" for epoch, cut in options["plan"])
    return notes


def freezeout_name(options: Options) -> str:
    rates = "scaled" if options["scale_lr"] else "unscaled"
    notes = ", equal FLOPs" if options.get("match_time") else ""
    if options.get("compat", "none") != "none":
        notes += f", as the {options['compat']} code does"
    notes += inputs_note(options)
    return f"FreezeOut {options['scaling']}, {rates} rates{notes}"


NAMES: dict[str, Callable[[Options], str]] = {
    "baseline": baseline_name,
    "freezeout": freezeout_name,
}


def strategy(options: Options) -> str:
    """What a line of a figure stands for: a method whatever its t0, the baseline for any share."""
    if is_baseline(options):
        return "baseline" if is_whole_baseline(options) else "baseline trained shorter"
    return NAMES[options["name"]](options) + share_note(options)


def point(options: Options) -> str:
    """What tells a variant from others of its strategy: its t0, or its share of the steps."""
    if "t0" in options:
        return f"{options['t0']:g}"
    return "" if options["epoch_share"] == 1 else f"{options['epoch_share']:.0%}"


def label(options: Options) -> str:
    """The name of a variant."""
    t0 = f", t0 = {options['t0']:g}" if "t0" in options else ""
    return f"{NAMES[options['name']](options)}{share_note(options)}{t0}"


def is_baseline(options: Options) -> bool:
    """Whether this is the plain baseline, whole or trained shorter."""
    return options["name"] == "baseline" and options.get("annealing", "cosine") == "cosine"


def is_whole_baseline(options: Options) -> bool:
    return is_baseline(options) and options["epoch_share"] == 1
