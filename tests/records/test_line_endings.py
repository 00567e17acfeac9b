"""Results stay readable wherever their text was converted and no number changed."""

import json
import shutil
import subprocess
from codecs import BOM_UTF8
from pathlib import Path

import pytest

from fobench.errors import UserError
from fobench.records.experiments import read_experiment
from fobench.records.runs import read_run, write_record
from tests.records.test_runs import ROW, record, write_run

ROOT = Path(__file__).parents[2]
COMMITTED = sorted(path.parent for path in ROOT.glob("results/*/experiment.json"))


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.org")
    subprocess.run(["git", *identity, "-C", str(folder), *words], check=True)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.parametrize("protected", [True, False])
def test_a_clone_that_converts_line_endings_is_read(tmp_path, protected):
    """With core.autocrlf: the files stay as they are by .gitattributes, and need not."""
    repository, clone = tmp_path / "repository", tmp_path / "clone"
    for folder in COMMITTED:
        shutil.copytree(folder, repository / "results" / folder.name)
    if protected:
        shutil.copy(ROOT / ".gitattributes", repository)
    git(tmp_path, "init", "--quiet", str(repository))
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "results")
    git(tmp_path, "clone", "--quiet", "-c", "core.autocrlf=true", str(repository), str(clone))
    records = list(clone.glob("results/*/*/run.json")) + list(clone.glob("results/*/*/epochs.csv"))
    assert len(records) > 200
    assert any(b"\r\n" in path.read_bytes() for path in records) == (not protected)
    for folder in COMMITTED:
        assert read_experiment(clone / "results" / folder.name) == read_experiment(folder)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_text_has_line_feeds_in_any_clone(tmp_path):
    shutil.copy(ROOT / ".gitattributes", tmp_path)
    (tmp_path / "train.py").write_text("1\n2\n")
    git(tmp_path, "init", "--quiet", ".")
    git(tmp_path, "add", ".")
    (tmp_path / "train.py").unlink()
    git(tmp_path, "-c", "core.autocrlf=true", "checkout", "--quiet", ".")
    assert (tmp_path / "train.py").read_bytes() == b"1\n2\n"


CONVERSIONS = {
    "line endings of Windows": lambda content: content.replace(b"\n", b"\r\n"),
    "no last line ending": lambda content: content.removesuffix(b"\n"),
    "a byte order mark": lambda content: BOM_UTF8 + content,
    "all three": lambda content: BOM_UTF8 + content.replace(b"\n", b"\r\n")[:-2],
}


@pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
@pytest.mark.parametrize("name", ["epochs.csv", "run.json"])
def test_converted_text_is_sound(tmp_path, convert, name):
    write_run(tmp_path / "a", [ROW])
    path = tmp_path / "a" / name
    before, sound = path.read_bytes(), read_run(tmp_path / "a")
    path.write_bytes(convert(before))
    assert path.read_bytes() != before
    assert read_run(tmp_path / "a") == sound


def test_a_record_with_other_indentation_is_sound(tmp_path):
    write_run(tmp_path / "a", [ROW])
    path, sound = tmp_path / "a" / "run.json", read_run(tmp_path / "a")
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4, sort_keys=True))
    assert read_run(tmp_path / "a") == sound


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.replace(b"1.5", b"1.6"),
        lambda content: content[:-2],  # the last digit
        lambda content: content + b"\n",
        lambda content: content.replace(b",", b";"),
        lambda content: content[: content.index(b"\n") + 1],
    ],
)
def test_rows_with_any_other_change_are_refused(tmp_path, change):
    write_run(tmp_path / "a", [ROW])
    path = tmp_path / "a" / "epochs.csv"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=r"epochs\.csv cannot be read"):
        read_run(tmp_path / "a")


def test_a_record_that_was_changed_is_refused_with_a_remedy_that_loses_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    write_record(tmp_path / "a", record())
    path = tmp_path / "a" / "run.json"
    path.write_text(path.read_text().replace('"finished"', '"diverged"'))
    with pytest.raises(UserError, match=r"restore it from a copy, or move the run's run\.json"):
        read_run(tmp_path / "a")


@pytest.mark.parametrize("name", ["epochs.csv", "run.json"])
def test_a_file_that_cannot_be_read_now_is_not_called_damaged(tmp_path, name, monkeypatch):
    """Its disk may be away for a moment."""
    write_run(tmp_path / "a", [ROW])
    read = Path.read_bytes

    def failing(path: Path) -> bytes:
        if path.name == name:
            raise OSError(5, "Input/output error")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(UserError, match=r"\(Input/output error\): check the disk") as raised:
        read_run(tmp_path / "a")
    assert "move" not in str(raised.value)
