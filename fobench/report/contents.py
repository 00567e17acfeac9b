"""What a report holds, whatever its form: a new table is added here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fobench.evidence.claim import Claim
from fobench.evidence.claims import read_claims
from fobench.evidence.results import ExperimentResults
from fobench.evidence.verdicts import name_of, verdicts
from fobench.report import explanations, tables
from fobench.report.answer import Answer, answer, answers_table
from fobench.report.ensembles_table import ensembles_table
from fobench.report.markdown import Markdown
from fobench.report.noise import noise_notes
from fobench.report.tables import Table
from fobench.report.verdict_table import verdict_table
from fobench.report.warnings import warnings


@dataclass(frozen=True)
class Part:
    """A table or notes under a heading; `folded` where the form can fold what is long."""

    heading: str
    content: Table | Sequence[str]
    explanation: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """An experiment; `title` says network, data, seeds and device, in lines."""

    name: str
    title: Sequence[str]
    parts: Sequence[Part]


@dataclass(frozen=True)
class Contents:
    """Answers and sections are those of the experiments, in order; the rest is of them all.

    `summary` holds the answers as a table.
    """

    answers: Sequence[Answer]
    summary: Part
    sections: Sequence[Section]
    claims: Part
    left_out: Sequence[Part]


def contents(
    experiments: Sequence[ExperimentResults],
    left_out: Sequence[str],
    target: float | None = None,
    claims: Sequence[Claim] | None = None,
) -> Contents:
    """The contents of the report of several experiments, one after another.

    `left_out` are notes on what is left out; `target` is the validation error for the time to a
    target, by default one that all baselines reach; `claims` are by default those of the package.
    """
    answers = [answer(each) for each in experiments]
    judged = verdicts(experiments, read_claims(None) if claims is None else claims)
    return Contents(
        answers,
        Part("Does freezing pay off?", answers_table(answers), explanations.ANSWERS),
        [section(each, target) for each in experiments],
        Part("Claims", verdict_table(judged), explanations.CLAIMS),
        [Part("Left out", left_out)] if left_out else [],
    )


def section(results: ExperimentResults, target: float | None) -> Section:
    return Section(name_of(results), results.title.splitlines(), list(parts(results, target)))


def parts(results: ExperimentResults, target: float | None) -> Iterator[Part]:
    """The parts of an experiment's section; without those that its results do not suffice for."""
    yield Part("Methods", tables.methods_table(results.summary), explanations.METHODS)
    ensembles = ensembles_table(results)
    if ensembles is not None:
        yield Part("Ensembles", ensembles, explanations.ENSEMBLES)
    control = tables.control_table(results)
    if control is not None:
        yield Part("Beside their own control", control, explanations.CONTROL)
    predictions = tables.predictions_table(results)
    if predictions is not None:
        yield Part("Predicted and measured", predictions, explanations.PREDICTIONS)
    stores = tables.stores_table(results)
    if stores is not None:
        yield Part("Beside the same inputs without a store", stores, explanations.STORES)
    error = tables.target_error(results, target)
    if error is not None:
        heading = f"Time to a validation error of {tables.number(error, 2)} %"
        yield Part(heading, tables.target_table(results, error), explanations.TARGET)
    yield Part("The machine", tables.environment_table(results), folded=True)
    # They have markup of ours, and nothing of the user.
    noise = [Markdown(note) for note in noise_notes(results)]
    yield Part("The noise of the clock", noise, folded=True)
    yield Part("Warnings", warnings(results), folded=True)
