"""Runs trained before give the same bits again: no change of code changes a result."""

import json
import math

import pytest

from tests.reference_runs import COLUMNS, FOLDER, load, machine, train

# On another processor or torch, roundings differ and grow: losses by a few percent in 25 steps,
# errors by a few of the 20 to 45 images.
LOSS_TOLERANCE, ERROR_TOLERANCE = 0.1, 20.0


# `make test` tries one network, `make test-all` all.
NETWORKS = [
    pytest.param(path.stem, marks=() if path.stem == "wideresnet" else pytest.mark.slow)
    for path in sorted(FOLDER.glob("*.json"))
]


@pytest.mark.parametrize("network", NETWORKS)
def test_every_method_gives_the_results_it_gave(network, tmp_path):
    """Run ids, epochs.csv and run.json, in their order, but for the machine and the clock."""
    reference = load(network)
    assert reference["columns"] == COLUMNS
    runs = train(network, tmp_path)
    # A method that is new has runs that the reference lacks.
    assert [run_id for run_id in runs if run_id in reference["runs"]] == list(reference["runs"])
    for run_id, known in reference["runs"].items():
        if machine() == reference["machine"]:
            # As text, so that order and type count too.
            assert json.dumps(runs[run_id]) == json.dumps(known), run_id
        else:
            record, expected = dict(runs[run_id]["record"]), dict(known["record"])
            require_close_ensembles(record.pop("ensemble", {}), expected.pop("ensemble", {}))
            assert json.dumps(record) == json.dumps(expected), run_id
            for row, expected in zip(runs[run_id]["epochs"], known["epochs"], strict=True):
                require_close(dict(zip(COLUMNS, row, strict=True)), expected)


def require_close_ensembles(ensemble: dict, expected: dict) -> None:
    for part in ("members", "last"):
        for one, other in zip(ensemble.pop(part, []), expected.pop(part, []), strict=True):
            assert one.keys() == other.keys()
            require_close(one, list(other.values()))
    assert ensemble == expected


def require_close(row: dict, expected: list) -> None:
    for (column, value), other in zip(row.items(), expected, strict=True):
        if column.endswith("_loss") and other is not None:
            assert math.isclose(value, other, rel_tol=LOSS_TOLERANCE), column
        elif column.endswith("_error") and other is not None:
            assert abs(value - other) <= ERROR_TOLERANCE, column
        else:
            assert value == other, column
