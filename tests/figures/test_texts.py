"""Texts of users in figures: the name of a data set can be that of any file."""

import warnings
from copy import deepcopy
from dataclasses import replace

import pytest

from fobench.evidence.results import read_results
from fobench.figures import FIGURES, SUFFIXES, speedup_error
from fobench.figures.export import render
from fobench.figures.style import TITLE_CHARACTERS, drawable


@pytest.fixture(scope="module")
def named(tiny_results):
    """The tiny results, as if their data set had that name."""

    def panels(name: str) -> list:
        (panel,), _ = read_results([tiny_results])
        runs = deepcopy(panel.runs)
        for run in runs:
            run.record["run"]["data_used"]["name"] = name
            run.record["run"]["data"]["dataset"] = [name]
        return [replace(panel, runs=runs)]

    return panels


NAMES = {
    "mathematics": r"$\frac$ $a_b$ \$ $",
    "Chinese": "数据集",
    "Arabic": "بيانات",
    "emoji": "🦆 👨\u200d👩\u200d👧",
    "control": "a\nb\x1b[31m\x00",
    "no characters": "\udcff",
    "comment": "a--b --> <b> & c",
    "long": "l" * 240,
}


def marked(kind: str, name: str) -> object:
    """All kinds of figures show names by the same function: one of them is enough to begin with."""
    marks = [] if kind == next(iter(FIGURES)) or name == "mathematics" else [pytest.mark.slow]
    return pytest.param(kind, NAMES[name], marks=marks, id=f"{kind}-{name}")


@pytest.mark.parametrize(
    ("kind", "name"), [marked(kind, name) for kind in FIGURES for name in NAMES]
)
def test_any_name_is_drawn_without_a_warning(named, kind, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for suffix in SUFFIXES:
            assert render(named(name), kind, suffix)


def test_a_dollar_is_a_dollar(named):
    drawn = render(named("$a_b$"), "curves", ".svg").decode()
    assert "<!-- DenseNet-BC 10-4 on $a_b$, augmentation: random -->" in drawn
    assert f'-{ord("$"):x}"' in drawn, "the outline of the character"


def test_characters_without_a_glyph_are_question_marks_and_a_message_says_so_once(named, caplog):
    panels = named("數據 set")
    for kind in FIGURES:
        assert "on ?? set, augmentation" in render(panels, kind, ".svg").decode()
    (message,) = caplog.messages
    assert "數據 set" in message
    assert "?? set" in message


def test_a_name_is_on_one_line_and_a_long_one_on_several(named):
    drawn = render(named("a\nb"), "curves", ".svg").decode()
    assert "on a\\nb, augmentation" in drawn
    drawn = render(named("l" * 240), "curves", ".svg").decode()
    assert "<!-- " + TITLE_CHARACTERS * "l" + " -->" in drawn


def test_long_titles_of_panels_keep_clear_of_each_other(named):
    name = "photos of (patch_size = 4, embed_dim = 96, depth = 6, num_heads = 3) and their drawings"
    figure = speedup_error.draw(named(name) * 3)
    left, middle, right = (each.title.get_window_extent() for each in figure.axes[:3])
    assert 0 < left.x0 < left.x1 < middle.x0 < middle.x1 < right.x0 < right.x1 < figure.bbox.x1


def test_lines_of_a_title_stay_lines():
    assert drawable("one\ntwo\x0bthree\rfour") == "one\ntwo?three?four"
