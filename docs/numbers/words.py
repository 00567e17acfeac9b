"""Numbers as the texts show them, and experiments as the texts name them."""

from collections.abc import Collection, Iterable
from functools import cache

from docs.numbers.pages import RESULTS
from fobench.evidence.results import ExperimentResults, read_results
from fobench.report.tables import AGAINST_FEWER_STEPS, Table, methods_table

NUMERALS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight",
            "nine", "ten", "eleven", "twelve")  # fmt: skip
METHODS = (
    *("method", "n (errors)", "n (times)", "time saved, %", "test error, %"),
    *("error change, points", AGAINST_FEWER_STEPS),
)


def span(values: Collection[float], form: str) -> str:
    """The least and the greatest; none of them is a negative zero."""
    least, greatest = (f"{each:{form}}" for each in (min(values), max(values)))
    zero = f"{0:{form}}"
    return " to ".join(zero if float(each) == 0 else each for each in (least, greatest))


def numeral(number: int) -> str:
    """A number in words, up to twelve."""
    return NUMERALS[number] if number < len(NUMERALS) else str(number)


@cache
def experiment(name: str) -> ExperimentResults:
    (found,), _ = read_results([RESULTS / name])
    return found


def methods_of(names: Iterable[str], header: tuple[str, ...] = METHODS) -> str:
    """Columns of the reports' tables of methods, by experiment if there are several."""
    rows = {name: methods_table(experiment(name).summary).columns(header) for name in names}
    if len(rows) == 1:
        return markdown(header, next(iter(rows.values())))
    return markdown(
        ("experiment", *header), [(name, *row) for name, each in rows.items() for row in each]
    )


def markdown(header: tuple[str, ...], rows: Iterable) -> str:
    return Table(header, [tuple(row) for row in rows]).markdown().rstrip()
