"""Runs trained at once, killed or stopped at any moment and resumed, end as ones left alone."""

import random
import signal

import pytest

from tests.faults.kills import METHODS, compare, config_of, launching

WAYS = {
    "a worker dies": (True, signal.SIGKILL, {1}),
    "a worker is stopped": (True, signal.SIGTERM, {143}),
    "Ctrl-C": (False, signal.SIGINT, {130}),
    "SIGTERM": (False, signal.SIGTERM, {143}),
    "the sweep is killed": (False, signal.SIGKILL, {-signal.SIGKILL}),
}
NETWORK = "wideresnet"


def require_the_same_end(tmp_path, methods: list[str], rounds: int, seed: int) -> None:
    """Each round interrupts a sweep of two jobs in each way, until it is done."""
    draw, resumes = random.Random(seed), 0
    config = tmp_path / "sweep.toml"
    config.write_text(config_of("sweep", NETWORK, methods))
    seeds = ("--set", "experiment.seeds=[0, 1, 2]")
    words = ("run", config, *seeds, "--device", "cpu", "--keep-checkpoints", "--results")
    with launching(tmp_path / "launcher", threads=1) as launcher:
        alone = launcher.run(*words, tmp_path / "alone", "--untimed")
        assert alone["exit"] == 0, launcher.log.read_text()
        for number in range(rounds):
            trial, ways = tmp_path / f"trial-{number}", list(WAYS.values())
            draw.shuffle(ways)
            for at_worker, sent, statuses in ways:
                ended = launcher.run(
                    *(*words, trial, "--jobs", "2"),
                    kill_after=draw.uniform(0.1, 0.25) * alone["seconds"],
                    number=sent,
                    at_worker=at_worker,
                )
                # One that is done before, or whose worker has no run left, is not disturbed.
                allowed = statuses | {0} if at_worker or not ended["sent"] else statuses
                assert ended["exit"] in allowed, launcher.log.read_text()
                assert ended["left"] == 0, "workers live on"
            ended = launcher.run(*words, trial, "--jobs", "2")
            assert ended["exit"] == 0, launcher.log.read_text()
            tally = compare(tmp_path / "alone/sweep", trial / "sweep")
            assert tally.differences == []
            resumes += tally.resumes
        assert "Traceback" not in launcher.log.read_text()
    assert resumes > 0


@pytest.mark.slow
def test_two_jobs_interrupted_in_every_way(tmp_path):
    require_the_same_end(tmp_path, ["cubic, unscaled", "stored"], 1, 0)


@pytest.mark.slow
def test_two_jobs_of_all_methods_interrupted_again_and_again(tmp_path):
    require_the_same_end(tmp_path, list(METHODS), 8, 1)
