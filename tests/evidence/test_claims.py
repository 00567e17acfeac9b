"""Claims as users write them, and those that come with fobench."""

import math
import re
from pathlib import Path

import pytest

from fobench.errors import UserError
from fobench.evidence.claim_tests import TESTS
from fobench.evidence.claims import PACKAGED, read_claims
from fobench.evidence.outcomes import Margin
from fobench.experiment.packaged_configs import names_of_configs

OWN = """
[[claim]]
id = "mine"
statement = "DenseNet: a third of the time"
source = "me"
family = "densenet"
test = "saving"
time_min = 33
setting = { name = "freezeout", t0 = 0.5 }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text)
    return path


def problems_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(UserError) as raised:
        read_claims(written(folder, text))
    return raised.value.problems


def test_the_claims_that_come_with_fobench_are_read():
    """With the margins that docs/claims.md states, and configs that are there."""
    claims = {claim.options.id: claim for claim in read_claims(None)}
    assert len(claims) == 11
    configs = {claim.options.config for claim in claims.values()} - {None}
    assert configs <= set(names_of_configs())
    assert claims["densenet-20"].margins == {
        "time saved, %": Margin(low=20),
        "error change, %": Margin(high=3),
    }
    assert claims["vgg-no-improvement"].margins == {"against fewer steps, points": Margin(low=-0.5)}
    assert [each for each in claims.values() if each.chosen_by_validation] == [
        claims["densenet-no-loss"]
    ]


def test_a_users_claims_stand_behind_those_of_fobench(tmp_path):
    own = read_claims(written(tmp_path, OWN))[-1]
    assert own.options.id == "mine"
    assert own.time == Margin(33, math.inf)
    assert own.error == Margin()
    assert own.setting.method.t0 == 0.5
    assert own.setting.method.scaling == "cubic", "the default of an option that is not named"


def test_a_setting_includes_methods_that_differ_in_free_options_alone(tmp_path):
    free = OWN.replace("t0 = 0.5 }", 't0 = 0.5, any = ["scaling", "scale_lr"] }')
    setting = read_claims(written(tmp_path, free))[-1].setting
    method = setting.method
    assert setting.includes(method.replace(scaling="linear", scale_lr=False))
    assert not setting.includes(method.replace(t0=0.8))
    assert not setting.includes(method.replace(views=2))
    assert not setting.includes(method.replace(compat="reference"))
    assert setting.label() == "freezeout, t0 = 0.5 with any scale_lr and scaling"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("time_min", "time_mini", "time_mini is not known: did you mean time_min?"),
        ("time_min = 33", "time_min = '33'", "time_min = '33': give a number"),
        ('id = "mine"', 'id = ""', "id = '': give a string in quotes, not empty"),
        ("setting =", "settings =", "settings is not known: did you mean setting?"),
        ('"saving"', '"savings"', "test savings is not known: did you mean saving?"),
        ('"densenet"', '"densnet"', "family densnet is not known: did you mean densenet?"),
        ("t0 = 0.5", "t_0 = 0.5", "setting: t_0 is not known: did you mean t0?"),
        ("t0 = 0.5", "t0 = 2.0", "setting: t0 = 2.0: give a number above 0 and at most 1"),
        ('"freezeout"', '"freezout"', "setting: name freezout is not known: did you mean freezeo"),
        ("t0 = 0.5 }", 'any = ["t"] }', "setting: any: t is not known"),
        ("t0 = 0.5 }", 't0 = 0.5, any = ["t0"] }', "setting: t0 is given and in any"),
        ("t0 = 0.5 }", "any = 3 }", "setting: any = 3: give a list of options in quotes"),
        ("setting", "others", "setting is missing: test = 'saving' needs it"),
        ("setting", "others", "others: test = 'saving' has no use for it; remove it"),
        ("time_min = 33\n", "", "it has no margin: give one of time_min, time_max, error_min"),
        ("33\n", "33\ntime_max = 3\n", "time_min = 33.0 is above time_max = 3.0"),
        ('"saving"', '"fewer steps"', "time_min: test = 'fewer steps' has no use for it"),
        ('"me"', '"me"\nchoose = "test error"', "give 'beforehand' or 'validation error'"),
        ('"mine"', '"densenet-20"', "id = 'densenet-20': a claim that comes with fobench has it"),
        ("[[claim]]", "[[claims]]", "table claims is not known: did you mean claim?"),
        ("[[claim]]", "[[claim]", "is not valid TOML"),
        (OWN, "", "give at least one table [[claim]]"),
        (OWN, OWN + OWN, "2 claims have id = 'mine': give each a different one"),
    ],
)
def test_mistakes_name_the_file_what_is_wrong_and_what_to_do(tmp_path, old, new, message):
    problems = problems_of(tmp_path, OWN.replace(old, new))
    assert any(message in problem for problem in problems), problems
    assert all(problem.startswith(str(tmp_path / "own.toml")) for problem in problems)


def test_options_that_a_test_does_not_look_at_are_mistakes(tmp_path):
    text = OWN.replace('"saving"', '"stores"').replace("time_min", "choose = 'validation error'\n"
                       "error_in = 'percent'\ntime_min")  # fmt: skip
    found = problems_of(tmp_path, text)
    assert [each.split(": ")[2] for each in found] == ["choose", "error_in", "setting"]


@pytest.mark.parametrize(
    ("test", "setting", "wanted"),
    [
        ("stores", "{ name = 'freezeout', t0 = 0.5 }", "give precompute = true"),
        ("fewer steps", "{ name = 'baseline' }", "give a method that freezes"),
        ("fewer steps", "{ name = 'snapshot' }", "give a method that trains one model, as what an"),
        ("fewer steps", "{ name = 'ensemble' }", "give a method that trains one model, as what an"),
    ],
)
def test_a_setting_that_could_never_be_tested_is_a_mistake(tmp_path, test, setting, wanted):
    text = (
        f"[[claim]]\nid = 'mine'\nstatement = 'mine'\nsource = 'me'\ntest = '{test}'\n"
        f"error_max = 1\nsetting = {setting}\n"
    )
    (found,) = problems_of(tmp_path, text)
    assert f"setting: {wanted}" in found


def test_all_mistakes_are_named_at_once(tmp_path):
    text = OWN.replace("time_min", "time_mini").replace("t0", "t_0") + OWN.replace("id", "ids")
    assert len(problems_of(tmp_path, text)) == 4


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none.toml: cannot be read"):
        read_claims(tmp_path / "none.toml")


def test_the_claims_are_part_of_the_package():
    """A wheel holds only what setup.cfg names."""
    settings = (PACKAGED.parents[2] / "setup.cfg").read_text()
    assert f"fobench.evidence = {PACKAGED.name}" in settings


def test_the_example_of_the_page_is_read_and_its_table_names_all_claims(tmp_path):
    page = (PACKAGED.parents[2] / "docs" / "claims.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert len(read_claims(written(tmp_path, example))) == 13
    assert all(f"| `{claim.options.id}` |" in page for claim in read_claims())
    assert all(f'| `"{name}"` |' in page for name in TESTS)
