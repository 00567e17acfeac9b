"""What a training step of several processes sends, as the page on loops tells."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from torch import distributed, nn

from benchmarks.bytes_per_step import (
    CLASSES,
    IMAGES,
    OWN,
    ROWS,
    WAYS,
    bytes_of_step,
    read_rows,
)
from docs.numbers.pages import ROOT
from fobench.models import build

FLOAT, COUNTER = 4, 8  # bytes; BatchNorm counts its batches in int64


def parameters_of(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_file_is_of_todays_networks():
    """In one all-reduce, a step sends the parameters that are not frozen, and nothing else."""
    networks = {
        "DenseNet-BC 22-12": build("densenet", CLASSES, depth=22, growth_rate=12),
        "WideResNet 16-1": build("wideresnet", CLASSES, depth=16, width=1),
    }
    rows = read_rows()
    assert {row["network"] for row in rows} == set(networks)
    for row in rows:
        network, frozen = networks[row["network"]], int(row["frozen"])
        active = FLOAT * parameters_of(network[frozen:])
        assert int(row["one all-reduce a step"]) == int(row[OWN]) == active
        assert len(network) == int(row["units"])


@pytest.fixture
def _alone() -> Iterator[None]:
    """A process group of one process, which gives collectives what each of several does."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def small() -> nn.Sequential:
    height, width, channels = IMAGES
    first = nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, 4), nn.BatchNorm1d(4))
    return nn.Sequential(first, nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5)), nn.Linear(5, 10))


@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_the_bytes_of_each_way(frozen):
    every, active = (FLOAT * parameters_of(part) for part in (small(), small()[frozen:]))
    statistics = [FLOAT * 2 * width + COUNTER for width in (4, 5)]
    expected = {
        "one all-reduce a step": active,
        "a new wrapper at each freeze": active + sum(statistics),
        "a wrapper for each unit": active + sum(statistics[frozen:]),
        # Which parameters were used is exchanged, too.
        "one wrapper that looks for unused parameters": every + sum(statistics) + 10 * FLOAT,
    }
    assert {name: bytes_of_step(small(), way, frozen) for name, way in WAYS.items()} == expected


@pytest.mark.slow
def test_the_file_is_what_the_script_writes(tmp_path):
    script, output = ROWS.with_suffix(".py"), tmp_path / "out.csv"
    ran = subprocess.run(
        [sys.executable, script, output], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert output.read_text() == ROWS.read_text()
