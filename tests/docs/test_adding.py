"""What the pages on adding things say works, as it stands there."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from docs.numbers.pages import ROOT
from fobench.methods import METHODS
from fobench.models import FAMILIES
from fobench.records.runs import read_run
from tests.docs.pages import code_of, module_of
from tests.faults.kills import differences


@pytest.mark.parametrize("page", ["adding-a-network", "adding-a-method"])
def test_the_code_of_the_page_would_pass_the_linter(page):
    (code,) = code_of(f"docs/{page}.md")
    name = f"fobench/{'methods' if 'method' in page else 'models'}/added.py"
    for words in (["check"], ["format", "--check"]):
        ran = subprocess.run(
            [Path(sys.executable).with_name("ruff"), *words, "--stdin-filename", name, "-"],
            cwd=ROOT,
            input=code,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_network_added_as_the_page_says_trains(fobench, tiny, tmp_path, monkeypatch):
    module = module_of("docs/adding-a-network.md", "fobench.models.plain", monkeypatch)
    monkeypatch.setitem(FAMILIES, "plain", module.PlainOptions)
    text = tiny.read_text().replace("densenet", "plain").replace("depth = 10", "width = 4")
    tiny.write_text(text.replace("growth_rate = 4", ""))
    ran = fobench("run", tiny, "--only", "t0.30", "--device", "cpu")
    assert ran.exit_code == 0, ran.output
    (path,) = (tmp_path / "results" / "tiny").glob("plain-4_*/run.json")
    record = json.loads(path.read_text())
    assert record["status"] == "finished"
    assert [unit["name"] for unit in record["units"]] == ["conv1", "conv2", "head"]
    assert [unit["freeze_step"] for unit in record["units"]] == [5, 10, None]
    wrong = fobench("run", tiny, "--set", "model.width=0")
    assert "[model] width = 0: give a whole number of at least 1 and at most 1000" in wrong.output


METHOD_TABLES = """
[[method]]
name = "baseline"

[[method]]
name = "halfway"
at = [0.4, 0.6]

[[method]]
name = "halfway"
at = 0.4
views = 2

[[method]]
name = "halfway"
at = 0.4
views = 2
precompute = true
plan = [[3, 1], [4, 2]]
"""


def with_the_method(tiny: Path, epochs: int) -> Path:
    head, _, _ = tiny.read_text().partition("[[method]]")
    tiny.write_text(head.replace("epochs = 3", f"epochs = {epochs}") + METHOD_TABLES)
    return tiny


def test_a_method_added_as_the_page_says_is_run_plotted_and_reported(
    fobench, tiny, tmp_path, monkeypatch
):
    module = module_of("docs/adding-a-method.md", "fobench.methods.halfway", monkeypatch)
    monkeypatch.setitem(METHODS, "halfway", module.HalfwayOptions)
    config = with_the_method(tiny, epochs=5)
    ran = fobench("run", config, "--device", "cpu")
    assert ran.exit_code == 0, ran.output
    (folder,) = (tmp_path / "results" / "tiny").glob("*_halfway-0.40_seed0-*")
    run = read_run(folder)
    # 25 steps; three of seven units freeze at step 10, with which the third epoch starts.
    assert [row.frozen_units for row in run.epochs] == [0, 0, 3, 3, 3]
    assert 0 < run.record["predictions"]["flops_saved_percent"] < 60
    (stored,) = (tmp_path / "results" / "tiny").glob("*_halfway-0.40-views2-precompute-*")
    assert [row.cached_units for row in read_run(stored).epochs] == [0, 0, 1, 2, 1]
    assert fobench("plot", "results/tiny", "--kind", "all").exit_code == 0
    figure = (tmp_path / "results" / "tiny" / "speedup-error.svg").read_text()
    assert "half of the units frozen at 0.4" in figure
    report = fobench("report", "results/tiny").output
    assert "| half of the units frozen at 0.6 | 1 |" in report
    wrong = fobench("run", config, "--dry-run", "--set", "train.epochs=0")
    assert "[train] epochs = 0" in wrong.output


def rows_in(folder: Path) -> int:
    return sum(len(path.read_text().splitlines()) - 1 for path in folder.glob("tiny/*/epochs.csv"))


def command(code: str) -> list[str]:
    """`fobench` in a process of its own that knows the method."""
    lines = (
        "import sys, types",
        "module = types.ModuleType('fobench.methods.halfway')",
        "sys.modules[module.__name__] = module",
        f"exec({code!r}, vars(module))",
        "from fobench.methods import METHODS",
        "METHODS['halfway'] = module.HalfwayOptions",
        "from fobench.cli import main",
        "main()",
    )
    return [sys.executable, "-c", "\n".join(lines)]


@pytest.mark.slow
@pytest.mark.parametrize("only", ["halfway-0.40_", "halfway-0.40-views2-precompute"])
def test_its_runs_are_killed_and_resumed_to_the_same_end(tiny, tmp_path, only):
    """Those with a store build it again when they resume, from units that are frozen."""
    (code,) = code_of("docs/adding-a-method.md")
    config = with_the_method(tiny, epochs=40)
    text = config.read_text().replace("[[3, 1], [4, 2]]", "[[17, 2], [18, 3]]")
    config.write_text(text)
    words = ["run", config, "--only", only, "--device", "cpu", "--results"]
    subprocess.run([*command(code), *words, tmp_path / "alone"], check=True, cwd=tmp_path)
    victim = subprocess.Popen([*command(code), *words, tmp_path / "killed"], cwd=tmp_path)
    while rows_in(tmp_path / "killed") < 20:
        assert victim.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    victim.send_signal(signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    subprocess.run([*command(code), *words, tmp_path / "killed"], check=True, cwd=tmp_path)
    (alone,) = (tmp_path / "alone" / "tiny").glob("*halfway*")
    (killed,) = (tmp_path / "killed" / "tiny").glob("*halfway*")
    assert read_run(killed).record["resumed"]
    assert differences(read_run(alone), read_run(killed)) == []
