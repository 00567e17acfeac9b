"""What the variants of an experiment are called in figures and tables. No torch."""

from collections.abc import Callable
from typing import Any

Options = dict[str, Any]


def share_note(options: Options) -> str:
    share = options["epoch_share"]
    return "" if share == 1 else f", {share:.0%} of the steps"


def baseline_name(options: Options) -> str:
    constant = " at a constant rate" if options.get("annealing") == "constant" else ""
    return f"baseline{constant}{share_note(options)}"


def freezeout_name(options: Options) -> str:
    rates = "scaled" if options["scale_lr"] else "unscaled"
    notes = share_note(options)
    if options.get("match_time"):
        notes += ", equal FLOPs"
    if options.get("compat", "none") != "none":
        notes += f", as the {options['compat']} code does"
    return f"FreezeOut {options['scaling']}, {rates} rates{notes}"


STRATEGIES: dict[str, Callable[[Options], str]] = {
    "baseline": baseline_name,
    "freezeout": freezeout_name,
}


def strategy(options: Options) -> str:
    """The name of a method with its options, but for t0: what a line of a figure stands for."""
    return STRATEGIES[options["name"]](options)


def label(options: Options) -> str:
    """The name of a variant."""
    t0 = f", t0 = {options['t0']:g}" if "t0" in options else ""
    return strategy(options) + t0


def is_baseline(options: Options) -> bool:
    """Whether this is the plain baseline, whole or trained shorter."""
    return options["name"] == "baseline" and options.get("annealing", "cosine") == "cosine"


def is_whole_baseline(options: Options) -> bool:
    return is_baseline(options) and options["epoch_share"] == 1
