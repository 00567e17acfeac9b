"""The disk full, forbidden or gone.

Either the run continues from its last good state, or it stops with a message that names the file
and the remedy; finished runs are kept.
"""

import errno
import os
import resource
import shutil
from pathlib import Path

import pytest

from tests.faults.conftest import after_steps


@pytest.fixture
def refused(monkeypatch):
    """Let the disk refuse to take files of a name, with an error, from the nth write on."""

    def refuse(name: str, number: int, after: int = 0) -> None:
        open_file, left = Path.open, [after]

        def open_or_refuse(path, mode="r", *args, **options):
            if mode == "wb" and name in path.name:
                left[0] -= 1
                if left[0] < 0:
                    raise OSError(number, os.strerror(number), str(path))
            return open_file(path, mode, *args, **options)

        monkeypatch.setattr(Path, "open", open_or_refuse)

    return refuse


ERRORS = [
    errno.ENOSPC,
    *(
        pytest.param(each, marks=pytest.mark.slow)
        for each in (errno.EACCES, errno.EIO, errno.EROFS)
    ),
]


@pytest.mark.parametrize("number", ERRORS)
def test_a_disk_that_takes_no_checkpoint_does_not_end_the_run(victim, refused, number, caplog):
    refused("checkpoint", number)
    assert victim.run().exit_code == 0
    victim.require_its_end()
    assert os.strerror(number) in caplog.text
    assert "continues without a checkpoint of epoch 2" in caplog.text


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize(
    ("name", "after", "resumed_after"), [("epochs.csv", 2, 1), ("run.json", 1, 2)]
)
def test_a_disk_that_takes_no_rows_or_record_stops_the_sweep(
    victim, refused, monkeypatch, number, name, after, resumed_after
):
    """The rows of the second epoch, the record at the end: the run resumes from what is intact."""
    with monkeypatch.context():
        refused(name, number, after)
        ran = victim.run()
        assert ran.exit_code == 2
        assert f"{name} cannot be written ({os.strerror(number)})" in ran.output
        assert "Traceback" not in ran.output
        monkeypatch.undo()
    monkeypatch.setenv("FOBENCH_LOCK", str(victim.root / "lock"))
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after)


@pytest.mark.parametrize(
    "limit",
    [16_000, *(pytest.param(each, marks=pytest.mark.slow) for each in (8_000, 30_001, 40_001))],
)
def test_a_checkpoint_that_the_kernel_cuts_off(victim, caplog, limit):
    """Refused in the middle of writing, wherever that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        ran = victim.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ran.exit_code == 0, ran.output
    assert "File too large" in caplog.text
    victim.require_its_end()


def test_a_results_folder_that_vanishes_is_not_created_again(victim, monkeypatch):
    """A disk may have been unmounted: what is written in its place would be lost."""
    root = victim.root / "results"
    with monkeypatch.context() as patch:
        after_steps(patch, 1, lambda: shutil.rmtree(root))
        ran = victim.run()
    assert ran.exit_code == 2
    assert "epochs.csv cannot be written (No such file or directory)" in ran.output
    assert not root.exists()
    assert victim.run().exit_code == 0
    victim.require_its_end()


def test_permission_lost_is_reported_before_anything_trains(victim, monkeypatch):
    victim.cut_off(epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, _: victim.folder.name not in str(path))
        ran = victim.run()
        assert ran.exit_code == 2
        assert f"{victim.folder.name} cannot be written (no permission)" in ran.output
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_permission_lost_for_real(victim):
    victim.cut_off(epochs=1)
    victim.folder.chmod(0o500)
    ran = victim.run()
    victim.folder.chmod(0o700)
    assert ran.exit_code == 2
    assert f"{victim.folder.name} cannot be written (no permission)" in ran.output
    assert victim.run().exit_code == 0
    victim.require_its_end(resumed_after=1)
