"""What `make reproduce` measures without a GPU."""

from docs.numbers.words import experiment, methods_of
from fobench.evidence import clock_noise
from fobench.report.tables import AGAINST_FEWER_STEPS

EXPERIMENTS = ("quick-densenet", "quick-wideresnet", "quick-vgg", "quick-resnet18")
METHODS = ("method", "time saved, %", "test error, %", AGAINST_FEWER_STEPS)


def shown() -> dict[str, str]:
    panels = [experiment(name) for name in EXPERIMENTS]
    seconds = sum(
        epoch.train_seconds + epoch.eval_seconds
        for panel in panels
        for run in panel.runs
        for epoch in run.epochs
    )
    drifts = [clock_noise.noise_of_first_epochs(panel.table).percent for panel in panels]
    return {
        "quick": methods_of(EXPERIMENTS, METHODS),
        "quick-seconds": f"{seconds:.0f}",
        "quick-drift": ", ".join(f"{drift:.1f}" for drift in drifts),
    }
