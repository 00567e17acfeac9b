"""The report as a page: complete, self-contained, and every text of a user is text."""

import re
import shutil
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest

from fobench.evidence.results import read_results
from fobench.figures import FIGURES
from fobench.records.runs import read_record, write_record
from fobench.report.contents import contents
from fobench.report.html import inline, numeric_columns, page, with_interval
from fobench.report.markdown import Markdown
from fobench.report.tables import Table
from tests.cli.test_commands import imported_by
from tests.report.page import Element, parsed

HOSTILE = "<script>alert(1)</script>\" onload='x' $a$ {{ 7 * 7 }} &amp; `fobench run` --> \\x"
LOADED = ("href", "src", "srcset", "data", "action", "formaction", "poster", "background", "cite")


@pytest.fixture(scope="module")
def written(tiny_results) -> str:
    return page(*read_results([tiny_results]))


@pytest.fixture(scope="module")
def document(written) -> Element:
    return parsed(written)


@pytest.fixture(scope="module")
def hostile(tiny_results, tmp_path_factory) -> Element:
    """The page of results with markup wherever a text is the user's or their machine's."""
    # A name of a file holds everything but a slash.
    folder = tmp_path_factory.mktemp("hostile") / HOSTILE.replace("/", "")
    shutil.copytree(tiny_results, folder)
    for path in folder.glob("*/run.json"):
        record = read_record(path.parent)
        record["environment"] |= {"processor": HOSTILE, "commit": HOSTILE}
        record["run"]["data_used"]["name"] = HOSTILE
        record["run"]["data"]["dataset"] = [HOSTILE]
        write_record(path.parent, record)
    return parsed(page(*read_results([folder])))


def test_the_page_refers_to_nothing_outside_itself(written, document):
    assert "://" not in written
    for element in document.all():
        assert element.tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        for name, text in element.attributes.items():
            if name.rpartition(":")[2] in LOADED:
                assert text.startswith("#") or text.startswith("data:image/png;base64,"), text
            assert all(url.startswith("#") for url in re.findall(r"url\(([^)]*)\)", text or ""))
    style = document.one("style").text
    assert "url(" not in style
    assert "@import" not in style


def test_a_browser_may_load_nothing_and_run_no_script_but_ours(document):
    script = document.one("script")
    assert not script.attributes
    policies = [
        each.attributes["content"]
        for each in document.all("meta")
        if each.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    directives = dict(each.split(" ", 1) for each in policies[0].split("; "))
    assert directives["default-src"] == "'none'"
    digest = b64encode(sha256("".join(script.parts).encode()).digest()).decode()
    assert directives["script-src"] == f"'sha256-{digest}'"
    assert directives["img-src"] == "data:"


def test_ids_are_unique_and_every_reference_has_one(document):
    elements = document.all()
    ids = [each.attributes["id"] for each in elements if "id" in each.attributes]
    assert len(ids) == len(set(ids))
    texts = [text for each in elements for text in each.attributes.values() if text]
    referred = {name for text in texts for name in re.findall(r"url\(#([^)]*)\)", text)}
    links = [each.attributes.get("href", "") for each in elements]
    referred |= {link[1:] for link in links if link.startswith("#")}
    assert len(referred) > 40, "clip paths, markers and hatchings"
    assert referred <= set(ids)


def test_every_figure_is_there_and_says_what_it_is(document):
    figures = document.all("svg")
    assert len(figures) == len(FIGURES)
    for kind, figure in zip(FIGURES, figures, strict=True):
        assert figure.attributes["role"] == "img"
        assert figure.attributes["aria-label"].startswith(f"Figure {kind}: DenseNet-BC 10-4 on")


def test_texts_of_figures_are_texts_in_the_font_of_the_figure(document):
    texts = document.all("text")
    assert len(texts) > 100
    assert not any("font-family" in each.attributes["style"] for each in texts)
    for figure in document.all("svg"):
        assert "font-family: 'DejaVu Sans'" in figure.attributes["style"]


def test_hatchings_of_figures_are_kept(document):
    """They are the only difference between bars for who sees no colours."""
    patterns = [each.attributes["id"] for each in document.all("pattern")]
    styles = [each.attributes.get("style", "") for each in document.all("path")]
    assert patterns
    assert all(any(f"url(#{name})" in style for style in styles) for name in patterns)


def test_the_page_holds_all_tables_and_notes_without_a_script(document, tiny_results):
    held = contents(*read_results([tiny_results]))
    parts = [held.summary, held.claims, *held.sections[0].parts, *held.left_out]
    tables = [part for part in parts if isinstance(part.content, Table)]
    found = document.all("table")
    assert len(found) == len(tables) >= 5
    for part, table in zip(tables, found, strict=True):
        caption = table.one("caption").text
        assert caption in (part.heading, f"{part.heading} of tiny")
        columns = [each for each in table.all("th") if each.attributes["scope"] == "col"]
        assert [each.text for each in columns] == [name for name in part.content.header if name]
        rows = [row for row in table.all("tr") if row.all("td")]
        assert [row.inside[0].attributes["scope"] for row in rows] == ["row"] * len(rows)
        shown = [[cell.text for cell in row.inside] for row in rows]
        # The marks of a command are its typeface here.
        assert shown == [[cell.replace("`", "") for cell in row] for row in part.content.rows]
    notes = [part for part in parts if not isinstance(part.content, Table)]
    shown = [each.text for each in document.all("li")]
    assert shown == [note.replace("`", "") for part in notes for note in part.content]
    meanings = [part.explanation for part in parts if part.explanation]
    assert {each.replace("`", "") for each in meanings} <= {each.text for each in document.all("p")}


def test_the_first_screen_answers_the_question(document, tiny_results):
    (answer,) = contents(*read_results([tiny_results])).answers
    header = document.one("header")
    assert header.one("h1").text == answer.sentence
    assert [each.text for each in header.all("dt")] == [
        *("Time saved", "Error change", "Against fewer steps")
    ]
    values = [each.text for each in header.all("b")][:3]
    assert values == [each.value for each in answer.numbers.shown()]
    assert answer.setting.label in header.text
    assert answer.setting.why in header.text
    assert len(header.all("svg")) == 1


def test_the_page_suits_any_screen(document):
    assert document.one("html").attributes["lang"] == "en"
    assert document.one("title").text == "tiny: does freezing pay off?"
    names = {each.attributes.get("name"): each.attributes.get("content") for each in
             document.all("meta")}  # fmt: skip
    assert names["viewport"] == "width=device-width, initial-scale=1"
    assert names["color-scheme"] == "light dark"
    assert "prefers-color-scheme: dark" in document.one("style").text
    for table in document.all("table"):
        assert any(table in box.inside for box in document.all("div")
                   if box.attributes.get("class") == "scroll")  # fmt: skip


def test_no_text_of_a_user_is_markup(hostile):
    assert len(hostile.all("script")) == 1
    for element in hostile.all():
        assert not [name for name in element.attributes if name.startswith("on")]
    name = HOSTILE.replace("/", "")
    assert hostile.one("title").text == f"{name}: does freezing pay off?"
    assert name.replace("`", "") in [each.text for each in hostile.all("h2")]
    cells = [each.text for each in hostile.all("td")]
    assert cells.count(HOSTILE.replace("`", "")) == 2  # the processor and the commit
    labels = [each.attributes["aria-label"] for each in hostile.all("svg")]
    assert labels
    assert all(HOSTILE in label for label in labels)


def test_several_experiments_have_a_row_a_section_and_figures_each(tiny_results, tmp_path):
    other = Path(shutil.copytree(tiny_results, tmp_path / "other"))
    for path in other.glob("*_baseline_seed0*/run.json"):
        write_record(path.parent, read_record(path.parent) | {"resumed": True})
    document = parsed(page(*read_results([tiny_results, other])))
    test_ids_are_unique_and_every_reference_has_one(document)
    answers = document.all("table")[0]
    assert [row.inside[0].text for row in answers.all("tr")[1:]] == ["tiny", "other"]
    assert [each.text for each in document.all("h2")] == ["Verdicts", "tiny", "other"]
    # Without a timed baseline there is no time saved to draw.
    missing = [each.text for each in document.all("p") if each.text.startswith("No figure")]
    assert [each.partition(":")[0] for each in missing] == [
        *("No figure speedup-error", "No figure pareto")
    ]
    assert "--include-resumed" in missing[0]
    assert len(document.all("svg")) == 2 * len(FIGURES) - 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<b>&amp;\"'", "&lt;b&gt;&amp;amp;&#34;&#39;"),
        ("`fobench run` trains, `not` this", "<code>fobench run</code> trains, `not` this"),
        (Markdown("set `experiment.repeats = 2`"), "set <code>experiment.repeats = 2</code>"),
        (Markdown("`<b>`"), "<code>&lt;b&gt;</code>"),
        ("one\ntwo\x1b[31m", "one two\\x1b[31m"),
        ("\udcff", "\\udcff"),
        (3, "3"),
    ],
)  # fmt: skip
def test_values_become_text(text, shown):
    assert inline(text) == shown


def test_names_are_no_numbers_though_they_begin_with_one():
    rows = [("4 snapshots, lr 0.1", "3", "1.5 (1.0 to 2.0)", "no"), ("5 snapshots", "3", "–", "no")]
    assert numeric_columns(Table(("method", "n", "error", "Pareto"), rows)) == {1, 2}


def test_an_interval_has_a_line_of_its_own():
    assert with_interval("1.5 (1.0 to 2.0)") == "1.5 <small>(1.0 to 2.0)</small>"
    assert with_interval("1.5 (1.0 to 2.0), n = 3") == "1.5 <small>(1.0 to 2.0)</small>, n = 3"
    assert with_interval("<i> (1.0 to 2.0)") == "&lt;i&gt; <small>(1.0 to 2.0)</small>"
    assert with_interval("a (b)") == "a (b)"


def test_the_command_writes_the_same_bytes_each_time(fobench, tiny_results, tmp_path, written):
    ran = fobench("report", tiny_results, "-o", "deep/report.HTM")
    assert ran.exit_code == 0
    assert ran.output == "deep/report.HTM\n"
    assert (tmp_path / "deep" / "report.HTM").read_bytes() == written.encode()


@pytest.mark.parametrize("name", ["report.md", "report.txt", "report", "report.tex"])
def test_all_other_files_are_markdown(fobench, tiny_results, tmp_path, name):
    assert fobench("report", tiny_results, "-o", name).exit_code == 0
    assert (tmp_path / name).read_text(encoding="utf-8").startswith("# fobench report\n")


@pytest.mark.slow
def test_a_page_needs_no_torch(tiny_results, tmp_path):
    imported = imported_by("report", str(tiny_results), "-o", str(tmp_path / "report.html"))
    assert "matplotlib" in imported
    assert "torch" not in imported


CLAIM = """
[[claim]]
id = "mine"
statement = "My own <b>claim</b>"
source = "me"
test = "fewer steps"
error_max = 0
"""


def test_claims_of_the_user_are_tested_too(fobench, tiny_results, tmp_path):
    (tmp_path / "claims.toml").write_text(CLAIM)
    ran = fobench("report", tiny_results, "--claims", "claims.toml")
    assert ran.exit_code == 0
    claims = ran.output.partition("## Claims")[2]
    assert r"| My own \<b\>claim\</b\> |" in claims
    assert "My own" not in fobench("report", tiny_results).output
    (tmp_path / "claims.toml").write_text(CLAIM.replace("fewer steps", "no such test"))
    wrong = fobench("report", tiny_results, "--claims", "claims.toml")
    assert wrong.exit_code == 2
    assert "no such test" in wrong.output
