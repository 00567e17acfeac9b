"""Claims, read from TOML files: those that come with fobench, and a user's."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fobench.errors import UserError
from fobench.evidence.claim import Claim, ClaimOptions
from fobench.evidence.claim_tests import ERROR_CHANGE, TESTS
from fobench.evidence.outcomes import Margin
from fobench.experiment.config import read_toml
from fobench.experiment.setting import read_setting
from fobench.validation import format_value, read, unknown_key

PACKAGED = Path(__file__).with_name("claims.toml")
MARGINS = ("time_min", "time_max", "error_min", "error_max")
SETTINGS = ("setting", "others")
EXAMPLE = '{ name = "freezeout", t0 = 0.8 }'


def read_claims(path: Path | None = None) -> list[Claim]:
    """The claims that come with fobench, and those of a user's file.

    Raises UserError with all mistakes in the file.
    """
    found = read_file(PACKAGED)
    own = [] if path is None else read_file(path)
    ids = [claim.options.id for claim in found]
    taken = [claim.options.id for claim in own if claim.options.id in ids]
    if taken:
        raise UserError(
            f"{path}: id = {format_value(each)}: a claim that comes with fobench has it; give "
            "another"
            for each in taken
        )
    return found + own


def read_file(path: Path) -> list[Claim]:
    """The claims of a file. Raises UserError with all its mistakes."""
    tables = read_toml(path)
    problems = [f"table {unknown_key(key, ['claim'])}" for key in tables if key != "claim"]
    listed = tables.get("claim", [])
    if not (isinstance(listed, list) and listed and all(isinstance(each, dict) for each in listed)):
        problems.append("give at least one table [[claim]]; see docs/claims.md")
        listed = []
    claims: list[Claim] = []
    for number, table in enumerate(listed, start=1):
        claim, wrong = read_claim(table, f"[[claim]] {number}:")
        claims += [claim] if claim is not None else []
        problems += wrong
    ids = [claim.options.id for claim in claims]
    problems += [
        f"{ids.count(each)} claims have id = {format_value(each)}: give each a different one"
        for each in dict.fromkeys(ids)
        if ids.count(each) > 1
    ]
    if problems:
        raise UserError(f"{path}: {problem}" for problem in problems)
    return claims


def read_claim(table: Mapping[str, Any], where: str) -> tuple[Claim | None, list[str]]:
    """The claim of a table. Returns (claim, []) or (None, all problems found)."""
    known = [*ClaimOptions.declared(), *SETTINGS]
    unknown = [f"{where} {unknown_key(key, known)}" for key in table if key not in known]
    plain = {key: value for key, value in table.items() if key in ClaimOptions.declared()}
    options, wrong = read(ClaimOptions, plain, where)
    problems = unknown + wrong
    settings = {}
    for key in [key for key in SETTINGS if key in table]:
        settings[key], wrong = read_setting(table[key], f"{where} {key}:")
        problems += wrong
    test = table.get("test")
    if isinstance(test, str) and test not in TESTS:
        problems.append(f"{where} test {unknown_key(test, TESTS)}")
    elif isinstance(test, str):
        wrong = setting_problems(test, table)
        # What is misspelt may be a margin.
        wrong += [] if options is None or unknown else margin_problems(options)
        unfit = TESTS[test].fits(settings["setting"]) if settings.get("setting") else ""
        wrong += [f"setting: {unfit}"] if unfit else []
        problems += [f"{where} {each}" for each in wrong]
    if problems:
        return None, problems
    claim = Claim(options, **settings)
    return replace(claim, margins=margins_of(claim)), []


def margins_of(claim: Claim) -> dict[str, Margin]:
    """The margins that a claim sets, by the names of its test's figures."""
    test = TESTS[claim.options.test]
    names = dict(test.margins)
    if test.in_percent:
        names["error"] = ERROR_CHANGE[claim.options.error_in]
    margins = {"time": claim.time, "error": claim.error}
    return {names[key]: margins[key] for key in names if margins[key].ends}


def setting_problems(name: str, table: Mapping[str, Any]) -> list[str]:
    """Settings that the test lacks or does not look at."""
    test = TESTS[name]
    problems = [
        f"{key} is missing: test = {name!r} needs it, such as {key} = {EXAMPLE}"
        for key in test.needed
        if key not in table
    ]
    known = (*test.needed, *test.optional)
    unused = [key for key in SETTINGS if key in table and key not in known]
    unused += ["choose"] * (not test.chooses and "choose" in table)
    unused += ["error_in"] * (not test.in_percent and "error_in" in table)
    return problems + [f"{key}: test = {name!r} has no use for it; remove it" for key in unused]


def margin_problems(options: ClaimOptions) -> list[str]:
    """Margins that are missing, not looked at, or in the wrong order."""
    test, name = TESTS[options.test], options.test
    given = [key for key in MARGINS if getattr(options, key) is not None]
    allowed = [key for key in MARGINS if key.partition("_")[0] in test.margins]
    problems = [
        f"{key}: test = {name!r} has no use for it; remove it"
        for key in given
        if key not in allowed
    ]
    if allowed and not set(given) & set(allowed):
        problems.append(f"it has no margin: give one of {', '.join(allowed)}")
    for low, high in (MARGINS[:2], MARGINS[2:]):
        ends = getattr(options, low), getattr(options, high)
        if None not in ends and ends[0] > ends[1]:
            problems.append(f"{low} = {ends[0]} is above {high} = {ends[1]}: give them in order")
    return problems
