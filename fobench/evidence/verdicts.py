"""Verdicts: which claims hold, fail or are undecided in the results of experiments."""

from collections.abc import Sequence
from dataclasses import dataclass

from fobench.evidence.claim import Claim
from fobench.evidence.claim_tests import TESTS
from fobench.evidence.findings import Finding, not_tested
from fobench.evidence.outcomes import Outcome
from fobench.evidence.results import ExperimentResults
from fobench.experiment.expand import dataset_title


@dataclass(frozen=True)
class Verdict:
    """A claim, what was found for a setting of it in an experiment, and at what scale.

    The latter two are empty for a claim that was not tested at all.
    """

    claim: Claim
    finding: Finding
    experiment: str = ""
    scale: str = ""

    @property
    def outcome(self) -> Outcome:
        return self.finding.judgement.outcome

    @property
    def note(self) -> str:
        """What would decide it, or what to run; empty if it is decided."""
        return self.finding.judgement.note


def verdicts(experiments: Sequence[ExperimentResults], claims: Sequence[Claim]) -> list[Verdict]:
    """At least one verdict on each claim: one for each experiment and setting that tests it."""
    return [
        verdict
        for claim in claims
        for verdict in verdicts_on(claim, experiments) or [untested(claim)]
    ]


def verdicts_on(claim: Claim, experiments: Sequence[ExperimentResults]) -> list[Verdict]:
    """The verdicts on a claim; none if no experiment tests it."""
    find = TESTS[claim.options.test].find
    return [
        Verdict(claim, found, name_of(results), scale_of(results))
        for results in experiments
        if claim.options.family in (None, family_of(results))
        for found in find(claim, results)
    ]


def untested(claim: Claim) -> Verdict:
    """A claim that no experiment tests, and what to run."""
    setting = "methods that freeze" if claim.setting is None else claim.setting.label()
    network = f"on {claim.options.family}: " if claim.options.family else ""
    needs = f"{network}train {setting} {TESTS[claim.options.test].runs}"
    if claim.options.config:
        needs += f", as `fobench run {claim.options.config}` does"
    return Verdict(claim, not_tested(setting, needs))


def family_of(results: ExperimentResults) -> str | None:
    return results.runs[0].record["run"]["model"].get("name")


def name_of(results: ExperimentResults) -> str:
    return results.folder.name or results.folder.resolve().name


def scale_of(results: ExperimentResults) -> str:
    """Network, data set, number of training images and epochs."""
    run = results.runs[0].record["run"]
    used = run["data_used"]
    return (
        f"{run['model']['title']}, {dataset_title(used['name'], run['data']['dataset'])}, "
        f"{used['train_images']:,} training images, {run['train']['epochs']} epochs"
    )
