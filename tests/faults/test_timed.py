"""Whether the seconds of an interrupted run were those of a run alone."""

import json

import pytest

from fobench.records.runs import read_run


def test_a_run_timed_in_part_is_untimed(victim):
    """In whichever order."""
    for first, second in (((), ("--untimed",)), (("--untimed",), ())):
        victim.cut_off(1, *first)
        assert victim.run(*second).exit_code == 0
        assert read_run(victim.folder).record["timed"] is False
        (victim.folder / "run.json").unlink()
    victim.cut_off(1)
    assert victim.run().exit_code == 0
    assert read_run(victim.folder).record["timed"] is True


@pytest.mark.parametrize("is_trained", [False, True])
def test_without_its_record_a_run_does_not_count_as_timed(victim, caplog, is_trained):
    """As after --untimed with a record that was damaged and moved away."""
    caplog.set_level("INFO")
    if is_trained:
        victim.run("--untimed", "--keep-checkpoints")
    else:
        victim.cut_off(1, "--untimed")
    victim.move_record_away()
    assert victim.run().exit_code == 0
    record = read_run(victim.folder).record
    assert (record["timed"], record["resumed"]) == (False, True)
    assert "its record is lost: its time will not count" in caplog.text


def test_a_record_without_the_entry_was_timed(victim):
    victim.cut_off(1)
    path = victim.folder / "run.json"
    record = json.loads(path.read_text())
    del record["timed"], record["sha256"]
    path.write_text(json.dumps(record))
    assert victim.run().exit_code == 0
    assert read_run(victim.folder).record["timed"] is True
