"""Output that cannot be written, or goes nowhere, is no traceback and fails no run."""

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from fobench.cli.streams import OutputError, StandardOutput
from fobench.records.runs import read_run, status_of
from fobench.training import checkpoint
from tests.cli.test_commands import FOBENCH
from tests.faults.kills import differences

COMMANDS = [
    "report RESULTS",
    "schema",
    "run tiny.toml --dry-run",
    "--help",
    *(
        pytest.param(command, marks=pytest.mark.slow)
        for command in (
            "plot RESULTS -o figure.svg",
            "init -o new.toml",
            "init --list",
            "data",
            "run --help",
            "--version",
        )
    ),
]


@pytest.fixture
def shell(tmp_path, tiny, tiny_results):
    """Run the command as a shell does, with redirections; RESULTS are those of the tiny config."""

    def run(line: str, **environment: str) -> subprocess.CompletedProcess:
        line = line.replace("fobench", shlex.quote(FOBENCH), 1)
        line = line.replace("RESULTS", shlex.quote(str(tiny_results)))
        return subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            check=False,
            timeout=120,
        )

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_behind_the_output_is_one_message_and_status_2(shell, command):
    ran = shell(f"fobench {command} > /dev/full")
    last_line = ran.stderr.decode().splitlines()[-1]
    assert last_line == "Error: the output cannot be written (No space left on device)"
    assert ran.returncode == 2
    assert b"Traceback" not in ran.stderr
    assert b"Exception ignored" not in ran.stderr


@pytest.mark.parametrize("command", ["report RESULTS", "schema", "--help"])
def test_a_reader_that_leaves_early_is_silence(shell, command):
    ran = shell(f"fobench {command} | head -n 1")
    assert ran.stdout.count(b"\n") == 1
    assert ran.stderr == b""


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("run no.toml", 2),
        ("run --no-such-option", 2),
        # Below, whole runs need no standard error.
        pytest.param("run tiny.toml --only baseline_ --device cpu", 0, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "closed", ["2> /dev/full", "2>&-", pytest.param("2> >(true)", marks=pytest.mark.slow)]
)
def test_messages_that_cannot_be_written_change_no_status(shell, command, status, closed):
    assert shell(f"fobench {command} {closed}").returncode == status


@pytest.mark.parametrize(
    "closed",
    [
        pytest.param("<&-", marks=pytest.mark.slow),
        pytest.param(">&-", marks=pytest.mark.slow),
        "2>&-",
        pytest.param("<&- >&- 2>&-", marks=pytest.mark.slow),
    ],
)
def test_a_run_needs_no_standard_streams(shell, tmp_path, tiny_results, closed):
    """It is finished, and no message of anybody is in its files."""
    ran = shell(f"fobench run tiny.toml --device cpu {closed}")
    assert ran.returncode == 0, ran.stderr
    for alone in tiny_results.glob("*/run.json"):
        assert differences(read_run(alone.parent), read_run_of(tmp_path, alone)) == []


def read_run_of(folder: Path, alone: Path):
    return read_run(folder / "results" / "tiny" / alone.parent.name)


def test_the_next_file_opened_is_never_a_standard_stream(tmp_path):
    """Else what C libraries write to their standard error would go into it."""
    code = (
        "import os\nfrom fobench.cli.streams import standard_streams\n"
        f"with standard_streams(), open({str(tmp_path / 'file')!r}, 'w') as file:\n"
        " os.write(2, b'from C'); print('text'); file.write(str(file.fileno()))\n"
    )
    line = f"{shlex.join([sys.executable, '-c', code])} <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", line], check=False).returncode == 0
    assert int((tmp_path / "file").read_text()) > 2


@pytest.mark.slow
def test_a_terminal_that_is_closed_stops_a_run_with_the_status_of_a_hang_up(tmp_path, tiny):
    """Though nobody reads the message."""
    ours, its = os.openpty()
    termios.tcsetwinsize(its, (24, 80))
    words = ["run", tiny, "--only", "t0.30", "--set", "train.epochs=9999", "--device", "cpu"]
    process = subprocess.Popen([FOBENCH, *words], cwd=tmp_path, stderr=its)
    try:
        os.close(its)
        while not list(tmp_path.glob("results/tiny/*/checkpoint.pt")):
            os.read(ours, 1000)  # the bar of progress
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=60) == 128 + signal.SIGHUP
    finally:
        process.kill()
    (folder,) = (path.parent for path in tmp_path.glob("results/tiny/*/run.json"))
    assert status_of(folder) == "running"
    assert checkpoint.read_last(folder)["rows"]


def test_an_output_that_does_not_block_is_waited_for():
    """A terminal or a pipe that another program has set so: the schema is larger than it holds."""
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writes, False)
    process = subprocess.Popen([FOBENCH, "schema"], stdout=writes, stderr=subprocess.PIPE)
    os.close(writes)
    time.sleep(1)
    with os.fdopen(reads) as output:
        assert json.load(output)["title"] == "A fobench experiment"
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == b""


@pytest.mark.parametrize("name", ["数据集", "e\N{COMBINING ACUTE ACCENT}\udcff"])
@pytest.mark.parametrize(
    "encoding",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "utf-8"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_characters_that_the_screen_lacks_are_no_error(shell, tmp_path, name, encoding):
    """Also bytes in a file's name that are no characters at all."""
    listed = f'--set \'data.dataset=["{name}", "synthetic"]\''
    ran = shell(f"fobench run tiny.toml --dry-run {listed}", **encoding)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(b"tiny on synthetic (")
    assert b"Traceback" not in ran.stderr
    if encoding == {"PYTHONIOENCODING": "latin-1"} and name == "数据集":
        assert ran.stdout.startswith(rb"tiny on synthetic (\u6570\u636e\u96c6 not found)")


def test_only_the_errors_of_the_output_are_taken_for_its_errors(tmp_path):
    """Other files' errors are ours, and keep their traceback."""
    with Path("/dev/full").open("wb") as full:
        output = StandardOutput(full.fileno())
        with pytest.raises(OutputError):
            output.write(b"text")
        assert output.write(b"text") == 4, "later writes are dropped"
    code = (
        "from fobench.cli import main\nimport fobench.cli.init as init\n"
        "def fail(): raise OSError(28, 'No space left on device')\n"
        "import fobench.experiment.packaged_configs as configs; configs.names_of_configs = fail\n"
        "main(['init', '--list'])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert ran.returncode == 1
    assert b"Traceback" in ran.stderr


def test_a_pipe_or_a_device_is_written_and_not_replaced(shell, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    ran = shell("fobench report RESULTS -o pipe & cat pipe; wait %1")
    assert ran.stdout.startswith(b"# fobench report")
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "full").symlink_to("/dev/full")
    ran = shell("fobench schema -o full")
    assert ran.returncode == 2
    assert b"full cannot be written (No space left on device)" in ran.stderr
    (tmp_path / "link.md").symlink_to("linked.md")
    assert shell("fobench report RESULTS -o link.md").returncode == 0
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "linked.md").read_text().startswith("# fobench report")
