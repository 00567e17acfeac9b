"""Runs that store activations beside runs of the same inputs that store nothing."""

import pandas as pd

from docs.numbers.words import experiment, markdown, methods_of, span
from fobench.evidence import clock_noise, store_savings
from fobench.evidence.results import ExperimentResults
from fobench.report.tables import STORES_HEADER, stores_table

EXPERIMENTS = ("cpu-precompute", "cpu-precompute-plain",
               "cpu-precompute-wideresnet", "cpu-precompute-wideresnet-plain")  # fmt: skip
INPUTS = ("method", "n (errors)", "time saved, %", "test error, %", "error change, points")


def shown() -> dict[str, str]:
    panels = [experiment(name) for name in EXPERIMENTS]
    found = savings()
    drifts = [clock_noise.noise_of_first_epochs(panel.table).percent for panel in panels]
    rows = [
        (name, *row)
        for name, panel in zip(EXPERIMENTS, panels, strict=True)
        for row in stores_table(panel).rows
    ]
    return {
        "stores": markdown(("experiment", *STORES_HEADER), rows),
        "inputs": methods_of(EXPERIMENTS, INPUTS),
        "by-store": span(found["by_store"], ".1f"),
        "missed": f"{abs(found['by_store'] - found['predicted']).max():.1f}",
        "store-points": f"{abs(found['points']).max():.2f}",
        "drift": span(drifts, ".0f"),
        "view-points": span([each for panel in panels for each in by_views(panel)], "+.1f"),
    }


def savings() -> pd.DataFrame:
    return pd.concat(store_savings.summary(experiment(name)) for name in EXPERIMENTS)


def by_views(panel: ExperimentResults) -> list[float]:
    """Points of test error that fixed views add, by the means of the seeds."""
    errors = {
        (method.t0, method.views): error
        for method, error in zip(panel.summary["method"], panel.summary["error"], strict=True)
        if method.name == "freezeout" and not method.precompute
    }
    return [error - errors[t0, None] for (t0, views), error in errors.items() if views]
