"""Signals and the time limit: the sweep stops soon, with its own exit status, and can resume."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fobench.cli.shared_options import Duration
from fobench.machine import interruption
from fobench.machine.interruption import EXIT_TIME_LIMIT, Deadline, Stopped
from fobench.machine.lock import machine_lock
from fobench.machine.ranks import ALONE
from fobench.records.runs import read_run, status_of
from fobench.training import checkpoint
from fobench.training.loop import seconds_of_test
from tests.faults.kills import differences

# The parent process may have had signals ignored.
RESET = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "for each in 'SIGTERM SIGHUP SIGUSR1 SIGUSR2 SIGXCPU'.split():"
    " signal.signal(getattr(signal, each), signal.SIG_DFL)\n"
)
COMMAND = f"{RESET}from fobench.cli import main; main()"
STATUSES = [
    (signal.SIGINT, 130),
    (signal.SIGTERM, 143),
    (signal.SIGHUP, 129),
    (signal.SIGUSR1, 138),
    (signal.SIGUSR2, 140),
    (signal.SIGXCPU, 152),
]
SIMILAR = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)


@pytest.fixture
def command(tmp_path, request):
    """Start a command in a process of its own, and read its messages up to a text."""

    def start(up_to: str, *words: str, prelude: str = "") -> tuple[subprocess.Popen, str]:
        process = subprocess.Popen(
            [sys.executable, "-c", prelude + COMMAND, *map(str, words)],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        request.addfinalizer(process.kill)  # if the test fails
        output = ""
        while up_to not in output:
            line = process.stderr.readline()
            assert line, output
            output += line
        return process, output

    return start


def test_every_signal_that_stops_is_tried():
    assert [number for number, _ in STATUSES] == list(interruption.SIGNALS)


@pytest.mark.timing
@pytest.mark.parametrize(
    ("number", "status"),
    [
        # The code does not tell these from the others; the tests below send each of them.
        pytest.param(*each, marks=pytest.mark.slow if each[0] in SIMILAR else ())
        for each in STATUSES
    ],
)
def test_the_first_signal_leaves_within_seconds_and_says_how_to_resume(
    command, tiny, tmp_path, number, status
):
    words = ["run", tiny, "--only", "t0.30", "--set", "train.epochs=9999", "--device", "cpu"]
    process, output = command("epoch 2/9999", *words)
    sent = time.monotonic()
    process.send_signal(number)
    output += process.stderr.read()
    assert process.wait() == status
    assert time.monotonic() - sent < 5
    assert "Traceback" not in output
    last_lines = output.splitlines()[-2:]
    assert "of work since then are lost" in last_lines[0]
    assert last_lines[1] == f"Stopped by {number.name}: the same command resumes from here"
    (folder,) = (tmp_path / "results" / "tiny").glob("*t0.30*")
    kept = len(checkpoint.read_last(folder)["rows"])
    assert f"epoch {kept} is saved" in last_lines[0]
    assert kept >= 2
    assert status_of(folder) == "running"


@pytest.mark.slow
@pytest.mark.timing
def test_a_run_that_the_kernel_stops_for_its_processor_time_resumes_exactly(
    command, fobench, tiny, tmp_path
):
    """SIGXCPU comes again each second, here for three of them while the run is stopping."""
    slow = (
        "import time\n"
        "from fobench.machine.interruption import Stopped\n"
        "class Slow(Stopped):\n"
        " def __init__(self, *args):\n"
        "  super().__init__(*args); end = time.process_time() + 3\n"
        "  while time.process_time() < end: pass\n"
        "from fobench.machine import interruption; interruption.Stopped = Slow\n"
    )
    words = ["run", tiny, "--only", "t0.30", "--set", "train.epochs=40", "--device", "cpu"]
    process, output = command("epoch 2/40", *words, prelude=slow)
    ticks = (Path("/proc") / str(process.pid) / "stat").read_text().rpartition(")")[2].split()
    used = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
    resource.prlimit(process.pid, resource.RLIMIT_CPU, (int(used) + 1, resource.RLIM_INFINITY))
    output += process.stderr.read()
    assert process.wait() == 152, output
    assert output.splitlines()[-1] == "Stopped by SIGXCPU: the same command resumes from here"
    (folder,) = (tmp_path / "results" / "tiny").glob("*t0.30*")
    kept = len(checkpoint.read_last(folder)["rows"])
    assert 2 <= kept < 40
    assert fobench(*words).exit_code == 0
    resumed = read_run(folder)
    assert [each["epochs"] for each in resumed.record["resumed_at"]] == [kept]
    assert fobench(*words, "--results", "alone").exit_code == 0
    alone = read_run(tmp_path / "alone" / "tiny" / folder.name)
    assert differences(alone, resumed) == []


def test_a_signal_stops_the_wait_for_the_machine(command, tiny, tmp_path):
    with machine_lock():
        process, output = command("waiting for another", "run", tiny, "--device", "cpu")
        process.send_signal(signal.SIGUSR1)
        output += process.stderr.read()
    assert process.wait() == 138, output
    assert output.splitlines()[-1] == "Stopped by SIGUSR1: the same command resumes from here"
    assert not (tmp_path / "results").exists()


def leave(code: str) -> subprocess.Popen:
    """A process in `stopping_on_signals` that runs this code once it is stopped."""
    program = (
        f"{RESET}import time\n"
        "from fobench.machine.interruption import Stopped, stopping_on_signals\n"
        "try:\n with stopping_on_signals():\n"
        "  print('ready', flush=True); time.sleep(60)\n"
        f"except Stopped as stopped:\n print('stopping', flush=True); {code}\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def pairs_of_signals() -> list[object]:
    """Each signal once as the first and, if it kills, once as the second; the others are slow."""
    deadly = [each for each in interruption.SIGNALS if each not in interruption.REPEATED]
    return [
        pytest.param(first, second, marks=[] if (i + 1) % len(deadly) == j else [pytest.mark.slow])
        for i, first in enumerate(interruption.SIGNALS)
        for j, second in enumerate(deadly)
    ]


@pytest.mark.parametrize(("first", "second"), pairs_of_signals())
def test_the_second_signal_leaves_at_once(first, second):
    process = leave("sum(iter(lambda: 1, 0))")  # it does not end
    try:
        process.send_signal(first)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(second)
        # In a shell: 128 and the number.
        assert process.wait(timeout=10) == -second
    finally:
        process.kill()


@pytest.mark.parametrize("number", interruption.SIGNALS)
def test_a_signal_sent_twice_at_once_is_one(number):
    """As `timeout` does, to the process and to its group."""
    program = (
        f"{RESET}import os, sys\n"
        "from fobench.machine import interruption\n"
        # The second comes while the first is handled, as a signal soon after it does.
        f"interruption.time.sleep = lambda _: os.kill(os.getpid(), {number})\n"
        "try:\n with interruption.stopping_on_signals():\n"
        f"  os.kill(os.getpid(), {number})\n"
        "except interruption.Stopped as stopped: sys.exit(stopped.exit_status)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert ran.returncode == 128 + number


def test_a_signal_that_is_sent_every_second_does_not_kill():
    process = leave("time.sleep(0.5); print('stopped', flush=True)")
    try:
        process.send_signal(signal.SIGXCPU)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGXCPU)
        assert process.stdout.readline() == "stopped\n"
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()


def test_a_signal_that_a_c_library_handles_is_left_to_it(monkeypatch):
    """Its handler, such as a profiler's, is unknown to Python and cannot be put back."""
    known = signal.getsignal

    def getsignal(number):
        return None if number == signal.SIGUSR2 else known(number)

    monkeypatch.setattr(signal, "getsignal", getsignal)
    with interruption.stopping_on_signals():
        assert known(signal.SIGUSR2) == signal.SIG_DFL
        assert known(signal.SIGUSR1) != signal.SIG_DFL


def test_handlers_are_put_back_and_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # The parent process may have had it ignored too.
    interrupted = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with interruption.stopping_on_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(Stopped, match="SIGINT") as stopped:
                signal.raise_signal(signal.SIGINT)
        assert stopped.value.exit_status == 130
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupted)


@pytest.fixture
def clock(monkeypatch):
    """The clock that a deadline reads, set by hand."""
    hands = {"now": 1000.0}
    monkeypatch.setattr(interruption.time, "monotonic", lambda: hands["now"])
    return hands


def test_a_deadline_leaves_time_for_the_longest_epoch(clock):
    deadline = Deadline(100)
    assert not deadline.is_close
    clock["now"] += 50  # data are read
    deadline.start_epoch()
    clock["now"] += 20
    deadline.end_epoch()
    clock["now"] += 5
    deadline.end_epoch()
    assert not deadline.is_close, "75 s are gone, the longest epoch took 20 s"
    deadline.require_time()
    clock["now"] += 6
    assert deadline.is_close
    with pytest.raises(Stopped, match="time limit") as stopped:
        deadline.require_time()
    assert stopped.value.exit_status == EXIT_TIME_LIMIT == 75


def test_a_deadline_knows_an_epoch_before_one_is_done(clock):
    """From the rows of a resumed run."""
    deadline = Deadline(100)
    deadline.expect_epoch(60)
    assert not deadline.is_close
    clock["now"] += 41
    assert deadline.is_close
    deadline.expect_epoch(60)  # nothing was done yet, and something has to be
    deadline.end_epoch()
    with pytest.raises(Stopped):
        deadline.expect_epoch(1)


@pytest.mark.parametrize(
    ("epochs_done", "validation", "members", "seconds"),
    [(1, 10, 1, 0.0), (2, 10, 1, 20 * 0.1), (2, 10, 5, 7 * 20 * 0.1), (3, 10, 1, 0.0),
     (2, 0, 1, 20 * 0.05)],
)  # fmt: skip
def test_the_last_epoch_is_expected_to_take_its_test_too(epochs_done, validation, members, seconds):
    """Of three; validation took 1 s for 10 images, training 5 s for 100 at most. 20 are tested."""
    rows = [SimpleNamespace(train_seconds=each, eval_seconds=1.0) for each in (5.0, 4.0)]
    data = SimpleNamespace(train=range(100), validation=range(validation), test=range(20))
    method = SimpleNamespace(ensemble_size=members)
    run = SimpleNamespace(epochs=3, method=method)
    training = SimpleNamespace(epoch=epochs_done, run=run, data=data, ranks=ALONE)
    assert seconds_of_test(training, rows) == pytest.approx(seconds)


def test_a_deadline_leaves_time_for_the_test_after_the_next_epoch_alone(clock):
    deadline = Deadline(100)
    clock["now"] += 10
    deadline.end_epoch()
    clock["now"] += 60
    deadline.expect_test(15)
    assert not deadline.is_close
    deadline.expect_test(25)
    assert deadline.is_close, "70 s are gone, an epoch takes 10 s and its test 25 s"
    deadline.start_epoch()
    clock["now"] += 10
    deadline.end_epoch()
    assert not deadline.is_close


def test_with_force_the_same_command_would_begin_again(fobench, tiny, monkeypatch):
    ran = fobench("run", tiny, "--force", "--time-limit", "1h")
    assert ran.exit_code == 2
    assert "give one of them" in ran.output

    def stop(*_):
        raise Stopped("SIGINT", 130)

    monkeypatch.setattr("fobench.training.loop.train_epoch", stop)
    ran = fobench("run", tiny, "--force")
    assert ran.exit_code == 130
    assert "the same command without --force resumes the current run" in ran.output


def test_without_a_limit_there_is_always_time(clock):
    deadline = Deadline(None)
    deadline.end_epoch()
    clock["now"] += 1e9
    assert not deadline.is_close


def test_a_sweep_in_pieces_by_time_ends_like_one_left_alone(
    fobench, tiny, tmp_path, tiny_results, monkeypatch
):
    """As if a scheduler restarted it for one epoch each; with all checkpoints or few."""
    monkeypatch.setattr(Deadline, "is_close", property(lambda self: self._longest > 0))
    words = ["run", tiny, "--device", "cpu", "--set", "experiment.checkpoint_every=1000"]
    pieces = 1
    while (ran := fobench(*words)).exit_code == 75:
        assert "Stopped by the time limit: the same command resumes" in ran.output
        pieces += 1
    assert ran.exit_code == 0, ran.output
    # 3 epochs, 2 for the shorter baseline; the last piece sees that all is done.
    assert pieces == 3 * 3 + 2
    for alone in tiny_results.glob("*/run.json"):
        whole = read_run(alone.parent)
        resumed = read_run(tmp_path / "results" / "tiny" / alone.parent.name)
        assert differences(whole, resumed) == []
        assert len(resumed.record["resumed_at"]) == len(whole.epochs) - 1


@pytest.mark.timing
def test_a_time_limit_is_kept(fobench, tiny, tmp_path):
    began = time.monotonic()
    words = ("run", tiny, "--device", "cpu", "--set", "train.epochs=9999", "--time-limit", "2s")
    ran = fobench(*words)
    assert ran.exit_code == 75, ran.output
    assert time.monotonic() - began < 8
    (path,) = tmp_path.glob("results/tiny/*/run.json")
    assert json.loads(path.read_text())["status"] == "running"
    kept = checkpoint.read_last(path.parent)
    # The first epoch is always trained; of the others, those that fit.
    assert len(kept["rows"]) == len((path.parent / "epochs.csv").read_text().splitlines()) - 1 > 0


def test_checkpoints_are_thinned_by_seconds(fobench, tiny, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(checkpoint, "save", lambda folder, content: saved.append(content))
    words = ("run", tiny, "--device", "cpu", "--only", "t0.30", "--force")
    for every, count in ((0, 2), (1000, 0)):
        saved.clear()
        assert fobench(*words, "--set", f"experiment.checkpoint_every={every}").exit_code == 0
        assert len(saved) == count


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("1d", 86400)]
)
def test_spans_of_time_are_read(text, seconds):

    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "0s", "2", "2 h", "h", "-1h", "1m2h", "1.5h", f"{'9' * 5000}h", "9" * 400 + "d", "２h"],
)
def test_other_spans_are_mistakes(fobench, tiny, text):
    ran = fobench("run", tiny, "--time-limit", text)
    assert ran.exit_code == 2
    assert "give one such as 2h, 90m" in ran.output
