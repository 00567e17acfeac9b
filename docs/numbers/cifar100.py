"""Freezing and training for fewer steps on the paper's data set."""

from docs.numbers.fifty_epochs import VERDICT, outcomes_of, rows_of
from docs.numbers.words import METHODS, experiment, markdown
from fobench.report.tables import number

EXPERIMENT = "cpu-cifar100"


def shown() -> dict[str, str]:
    panel = experiment(EXPERIMENT)
    rows = rows_of(EXPERIMENT, panel, outcomes_of(panel))
    distances = panel.summary["fewer_steps"].dropna()
    ends = (number(each, sign=True) for each in (distances.min(), distances.max()))
    return {
        "cifar100": markdown((*METHODS, VERDICT), [row[1:] for row in rows]),
        "cifar100-distances": " to ".join(ends),
    }
