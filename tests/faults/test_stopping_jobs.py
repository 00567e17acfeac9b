"""Several runs at once, stopped from outside: through the processes that a user has."""

import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

from fobench.records.runs import status_of
from fobench.training import checkpoint
from tests.cli.test_commands import FOBENCH
from tests.faults.kills import compare, config_of, launching


def read_until(terminal: int, what: str) -> str:
    """What a terminal shows, up to a pattern or its end."""
    shown, end = "", time.monotonic() + 120
    while not re.search(what, shown) and time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            try:
                shown += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # closed
                break
    return shown


@pytest.mark.slow
@pytest.mark.timing
def test_ctrl_c_at_a_terminal_stops_both_and_each_says_what_it_saved(tiny, tmp_path):
    """The terminal sends it to a group of processes; the bars are replaced by messages."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.environ["OMP_NUM_THREADS"] = "1"
        words = ["run", str(tiny), "--set", "train.epochs=9999", "--device", "cpu", "--jobs", "2"]
        os.execv(FOBENCH, [FOBENCH, *words])
    termios.tcsetwinsize(terminal, (24, 100))
    try:
        shown = read_until(terminal, r"(?s)(1: epoch [3-9].*2: epoch [3-9])")
        assert "0 of 4 runs done" in shown
        assert re.search(r"frozen, loss \d", shown)
        os.write(terminal, b"\x03")
        shown = read_until(terminal, "resumes from here")
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130
    assert len(re.findall(r"[12]: \S+ stops in epoch \d+ of \d+: epoch \d+ is saved", shown)) == 2
    assert shown.rstrip().endswith("Stopped by SIGINT: the same command resumes from here")
    assert "Traceback" not in shown
    folders = [path.parent for path in tmp_path.glob("results/tiny/*/run.json")]
    assert [status_of(folder) for folder in folders] == ["running"] * 2
    assert all(checkpoint.read_last(folder)["rows"] for folder in folders)


@pytest.mark.slow
@pytest.mark.timing
def test_a_second_signal_ends_all_at_once(tiny, tmp_path):
    words = ["run", tiny, "--set", "train.epochs=9999", "--device", "cpu", "--jobs", "2"]
    process = subprocess.Popen(
        [FOBENCH, *map(str, words)],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while "epoch 2/" not in process.stderr.readline():
            pass
        (worker, *_) = children_of(process.pid)
        os.kill(worker, signal.SIGSTOP)  # it does not stop when it is told to
        process.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == -signal.SIGTERM
        os.kill(worker, signal.SIGCONT)
        end = time.monotonic() + 10
        open_file = Path(f"/proc/{worker}/fd/0")  # a dead process has none
        while open_file.exists() and time.monotonic() < end:
            time.sleep(0.1)
        assert not open_file.exists()
    finally:
        process.kill()


def children_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in children.split()]


@pytest.mark.slow
def test_jobs_in_pieces_by_time_end_like_runs_left_alone(tmp_path):
    config = tmp_path / "sweep.toml"
    config.write_text(config_of("sweep", "wideresnet", ["baseline", "linear, scaled"]))
    words = ("run", config, "--device", "cpu", "--set", "train.epochs=40", "--results")
    with launching(tmp_path / "launcher", threads=1) as launcher:
        assert launcher.run(*words, tmp_path / "alone", "--untimed")["exit"] == 0
        pieces = [*words, tmp_path / "pieces", "--jobs", "2", "--time-limit", "1s"]
        statuses = [launcher.run(*pieces)["exit"]]
        while statuses[-1] == 75 and len(statuses) < 30:
            statuses.append(launcher.run(*pieces)["exit"])
        log = launcher.log.read_text()
    assert statuses[0] == 75, log
    assert statuses[-1] == 0, log
    assert "Stopped by the time limit: the same command resumes from here" in log
    tally = compare(tmp_path / "alone/sweep", tmp_path / "pieces/sweep")
    assert tally.differences == []
    assert tally.resumes >= 2
