"""The noise of the clock: runs that were trained several times with the same seed."""

from docs.numbers.timed import ON_CARDS, ON_TWO_CORES
from docs.numbers.words import experiment, span
from fobench.evidence import clock_noise
from fobench.evidence.results import ExperimentResults


def shown() -> dict[str, str]:
    return {
        "noise": noise_of("cpu-noise"),
        "noise-cores": noise_of(ON_TWO_CORES),
        "noise-cards": noise_of(ON_CARDS),
        "noise-cards-plain": f"{most_without_stores(experiment(ON_CARDS)):.1f}",
        "noise-cards-errors": span(errors_of_repeats(experiment(ON_CARDS)), ".1f"),
    }


def noise_of(name: str) -> str:
    """The standard deviation of an experiment's repeats, in percent, and of how many runs."""
    noise = clock_noise.noise_of_repeats(experiment(name).table)
    return f"{noise.percent:.1f} % ({len(repeated(experiment(name)))} runs)"


def repeated(panel: ExperimentResults) -> list[str]:
    """The timed runs that were trained several times with the same seed."""
    timed = panel.table[panel.table["timed"]]
    times = timed.groupby(["variant", "seed"])["id"].transform("size")
    return timed.loc[times > 1, "id"].tolist()


def most_without_stores(panel: ExperimentResults) -> float:
    """The most that the times of two equal runs without a store differ by, in percent."""
    runs = panel.table[panel.table["id"].isin(repeated(panel))]
    plain = runs[[not method.stores.precompute for method in runs["method"]]]
    times = plain.groupby(["variant", "seed"])["train_seconds"]
    return 100 * float((times.max() / times.min() - 1).max())


def errors_of_repeats(panel: ExperimentResults) -> list[float]:
    """How far the test errors of two equal runs lie apart, in points."""
    errors = panel.table.groupby(["variant", "seed"])["test_error"]
    return [max(each) - min(each) for _, each in errors if len(each) > 1]
