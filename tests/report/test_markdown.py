"""Texts of users in a report are shown as they are, whatever they mean in Markdown."""

import re
import shutil
from pathlib import Path

import pytest

from fobench.cli.messages import write_or_print
from fobench.errors import UserError
from fobench.evidence.results import read_results
from fobench.records.runs import read_record, write_record
from fobench.report.markdown import Markdown, escaped
from fobench.report.report import report
from fobench.report.tables import Table

MARKUP = "a|b *c* _d_ `e` <b>f</b> [g](h) $i$ ~j~ &amp; \\k #l"
SHOWN = r"a\|b \*c\* \_d\_ \`e\` \<b\>f\</b\> \[g\](h) \$i\$ \~j\~ \&amp; \\k \#l"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (MARKUP, SHOWN),
        ("vgg-16-x1_cifar10_seed0-7696", "vgg-16-x1_cifar10_seed0-7696"),
        ("AMD EPYC 7B13, 2.5 GHz (n = 3)", "AMD EPYC 7B13, 2.5 GHz (n = 3)"),
        ("one\n\ntwo\r\n", "one  two"),
        ("\x1b[31mred", r"\\x1b\[31mred"),
        ("数据集", "数据集"),
        (3, "3"),
        (Markdown("`as it is`"), "`as it is`"),
    ],
)  # fmt: skip
def test_what_has_a_meaning_in_markdown_is_escaped(text, shown):
    assert escaped(text) == shown


def cells(line: str) -> list[str]:
    """The cells of a table's row, as GitHub splits it."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_a_table_has_the_cells_that_it_was_given():
    text = Table(("head|er", ""), [("a|b", "c\nd"), ("`e|f`", "g")]).markdown()
    assert [cells(line) for line in text.splitlines()] == [
        [r"head\|er", ""],
        ["---", "---"],
        [r"a\|b", "c d"],
        [r"\`e\|f\`", "g"],
    ]


@pytest.fixture
def marked_up(tiny_results, tmp_path) -> Path:
    """The tiny results, with markup wherever a text is the user's or their machine's."""
    # A name of a file holds everything but a slash.
    folder = tmp_path / MARKUP.replace("/", "")
    shutil.copytree(tiny_results, folder)
    for path in folder.glob("*/run.json"):
        record = read_record(path.parent)
        record["environment"] |= {"processor": f"{MARKUP}\n| more |", "commit": "*c*"}
        record["run"]["data_used"]["name"] = f"{MARKUP}\n# more"
        write_record(path.parent, record)
    (folder / "*stray*").mkdir()
    shutil.copy(path, folder / "*stray*" / "run.json")
    return folder


def test_no_text_of_a_user_is_markup(marked_up):
    lines = report(*read_results([marked_up])).splitlines()
    at = lines.index(f"## {SHOWN.replace('/', '')}")
    assert lines[at + 2].startswith(f"DenseNet-BC 10-4 on {SHOWN}\\\\n\\# more (")
    rows = [cells(line) for line in lines if line.startswith("| processor |")]
    assert rows == [["processor", rf"{SHOWN} \| more \|"]]
    assert r"| commit | \*c\* |" in lines
    assert [line for line in lines if r"\*stray\* is left out" in line]
    assert not [line for line in lines if "more" in line and line.startswith(("#", "| more"))]


def test_the_working_folder_has_a_name(tiny_results, tmp_path, monkeypatch):
    shutil.copytree(tiny_results, tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    assert "\n## mine\n" in report(*read_results([Path()]))


def test_a_working_folder_that_is_gone_is_not_needed(tiny_results, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    text = report(*read_results([tiny_results]))
    assert "\n## tiny\n" in text
    with pytest.raises(UserError, match=r"report.md cannot be written \(No such file"):
        write_or_print(text, Path("report.md"))


def test_commands_that_a_message_names_are_code(tiny_results):
    note = "it is left out: `fobench run` then trains the run again, `not` this"
    assert "- it is left out: `fobench run` then trains the run again, \\`not\\` this\n" in report(
        *read_results([tiny_results])[:1], [note]
    )
