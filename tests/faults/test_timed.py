"""Whether the seconds of an interrupted run were those of a run alone."""

import json

import pytest

from fobench.records.runs import read_run
from fobench.training import checkpoint


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
def test_whose_record_was_moved_away_is_as_timed_as_before(victim, is_trained):
    """As messages about a damaged record advise: the checkpoint says how it was trained."""
    if is_trained:
        victim.run("--untimed", "--keep-checkpoints")
    else:
        victim.cut_off(1, "--untimed")
    before = json.loads((victim.folder / "run.json").read_text())
    victim.move_record_away()
    assert victim.run().exit_code == 0
    record = read_run(victim.folder).record
    assert record["timed"] is False
    assert record["resumed"] is not is_trained
    assert [record[key] for key in ("started", "environment")] == [
        before[key] for key in ("started", "environment")
    ]


def test_a_run_of_which_nothing_is_known_is_untimed(victim, caplog):
    """Its checkpoint is of a version that did not say."""
    caplog.set_level("INFO")
    victim.cut_off(1)
    content = checkpoint.read(victim.folder / checkpoint.LAST)
    del content["record"]
    with (victim.folder / checkpoint.LAST).open("wb") as file:
        checkpoint.write(content, file)
    victim.move_record_away()
    assert victim.run().exit_code == 0
    assert read_run(victim.folder).record["timed"] is False
    assert "or may have been: its time will not count" in caplog.text


def test_a_record_without_the_entry_was_timed(victim):
    victim.cut_off(1)
    path = victim.folder / "run.json"
    record = json.loads(path.read_text())
    del record["timed"], record["sha256"]
    path.write_text(json.dumps(record))
    assert victim.run().exit_code == 0
    assert read_run(victim.folder).record["timed"] is True
