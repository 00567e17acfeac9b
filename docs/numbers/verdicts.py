"""The verdicts on claims that the committed runs suffice for."""

from docs.numbers.words import experiment, markdown
from fobench.evidence.claims import read_claims
from fobench.evidence.outcomes import FAILS, HOLDS, NOT_TESTED, TWO_SEEDS, UNDECIDED
from fobench.evidence.verdicts import Verdict, verdicts
from fobench.report.verdict_table import verdict_table

SEVERAL_SEEDS = ("gpu-densenet", "cpu-wideresnet", "gpu-vgg", "cpu-cifar100",
                 "cpu-precompute", "cpu-precompute-plain",
                 "cpu-precompute-wideresnet", "cpu-precompute-wideresnet-plain",
                 "cpu-snapshot", "cpu-resnet18", "cpu-vit", "cpu-convnext")  # fmt: skip
JUDGED = ("claim", "verdict", "setting", "experiment", "measured", "n of times, errors", "scale")


def shown() -> dict[str, str]:
    found = judged()
    return {
        "verdicts": markdown(JUDGED, verdict_table(found).columns(JUDGED)),
        "counts": counts(found),
    }


def judged() -> list[Verdict]:
    """The verdicts that the committed runs suffice for; not those of a single seed."""
    found = verdicts([experiment(name) for name in SEVERAL_SEEDS], read_claims())
    return [each for each in found if each.outcome != NOT_TESTED and each.note != TWO_SEEDS]


def counts(found: list[Verdict]) -> str:
    """How often each claim holds, fails and is undecided, over settings and experiments."""
    by_claim: dict[str, list[Verdict]] = {}
    for verdict in found:
        by_claim.setdefault(verdict.claim.options.statement, []).append(verdict)
    rows = []
    for statement, group in by_claim.items():
        outcomes = [verdict.outcome for verdict in group]
        numbers = [str(outcomes.count(each)) for each in (HOLDS, FAILS, UNDECIDED)]
        places = dict.fromkeys(verdict.experiment for verdict in group)
        rows.append((statement, *numbers, ", ".join(places)))
    return markdown(("claim", HOLDS, FAILS, UNDECIDED, "experiments"), rows)
