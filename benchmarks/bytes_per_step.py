"""What a training step of several processes sends, by number of frozen units.

    python benchmarks/bytes_per_step.py [OUTPUT.csv]

For the ways of docs/freezeout-in-your-loop.md to train one network in several processes, and for
fobench's own runs; with networks of configs/cpu and two processes on the CPU (gloo). A row holds,
for each, the bytes of all tensors that a process gives to collectives in the third step with that
many units frozen: DistributedDataParallel arranges gradients anew in the second. Prints the table
of that page.
"""

import csv
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from torch import Tensor, distributed, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fobench.data import split
from fobench.data.synthetic import open_synthetic
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.freezing.frozen import FrozenUnits
from fobench.freezing.units import units_of
from fobench.machine.ranks import RanksOfGroup
from fobench.methods import FreezeOutOptions
from fobench.training.loop import train_epoch
from fobench.training.state import Training

ROWS = Path(__file__).with_suffix(".csv")
CONFIGS = Path(__file__).parents[1] / "configs" / "cpu"
NETWORKS = ("densenet", "wideresnet")
OWN = "fobench run"
CLASSES, IMAGES = 10, (32, 32, 3)
BATCH, STEPS, PROCESSES = 2, 3, 2

Row = dict[str, Any]
Step = Callable[[Tensor, Tensor], None]
Way = Callable[[nn.Sequential, Callable[[], None]], Step]


class Sent(TorchDispatchMode):
    """Counts the bytes given to collectives, DistributedDataParallel's included."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, given: tuple = (), named: dict | None = None
    ) -> Any:
        if operation.namespace == "c10d":
            tensors = [each for each in tree_leaves(given) if isinstance(each, Tensor)]
            self.bytes += sum(each.nbytes for each in tensors)
        return operation(*given, **(named or {}))


# The ways: each freezes units of a network, and returns what computes averaged gradients.


def one_all_reduce(network: nn.Sequential, freeze: Callable[[], None]) -> Step:
    freeze()

    def step(images: Tensor, labels: Tensor) -> None:
        backward(network, images, labels)
        gradients = [each.grad for each in network.parameters() if each.grad is not None]
        distributed.all_reduce(torch.cat([each.flatten() for each in gradients]))

    return step


def wrapped_anew(network: nn.Sequential, freeze: Callable[[], None]) -> Step:
    freeze()
    return partial(backward, DistributedDataParallel(network))


def wrapped_by_unit(network: nn.Sequential, freeze: Callable[[], None]) -> Step:
    wrapped = [DistributedDataParallel(unit) for unit in network]
    freeze()
    called = [
        parallel if any(each.requires_grad for each in unit.parameters()) else unit
        for unit, parallel in zip(network, wrapped, strict=True)
    ]
    return partial(backward, nn.Sequential(*called))


def wrapped_once(network: nn.Sequential, freeze: Callable[[], None]) -> Step:
    parallel = DistributedDataParallel(network, find_unused_parameters=True)
    freeze()
    return partial(backward, parallel)


def backward(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    cross_entropy(network(images), labels).backward()


WAYS = {
    "one all-reduce a step": one_all_reduce,
    "a new wrapper at each freeze": wrapped_anew,
    "a wrapper for each unit": wrapped_by_unit,
    "one wrapper that looks for unused parameters": wrapped_once,
}


def bytes_of_step(network: nn.Sequential, way: Way, frozen: int) -> int:
    """What the last of some steps sends, with so many units frozen."""
    optimizer = SGD(network.parameters(), lr=0.1)
    units = FrozenUnits(units_of(network), optimizer)
    step = way(network, partial(units.freeze, frozen))
    height, width, channels = IMAGES
    images, labels = (
        torch.zeros(BATCH, channels, height, width),
        torch.zeros(BATCH, dtype=torch.int64),
    )
    for _ in range(STEPS):
        optimizer.zero_grad()
        with Sent() as sent:
            step(images, labels)
    return sent.bytes


class BytesByDepth:
    """Progress that notes the bytes of the last step with each number of frozen units."""

    def __init__(self, sent: Sent) -> None:
        self._sent, self.found = sent, dict[int, int]()

    def step(self, images: int, frozen: int) -> None:
        self.found[frozen] = self._sent.bytes
        self._sent.bytes = 0


def bytes_of_run(config: Path, units: int) -> dict[int, int]:
    """The same of a run that freezes a unit every few steps, all in one epoch."""
    images = BATCH * STEPS * units
    size = [f"data.train_size={images}", "data.validation=0", f"train.batch_size={BATCH}"]
    experiment = load(config, ["data.dataset=synthetic", "train.epochs=1", *size])
    dataset = open_synthetic("synthetic", images, BATCH)
    run = expand(experiment, dataset)[0]
    run = replace(run, method=FreezeOutOptions(scaling="linear", t0=1 / units))
    data = split.load(dataset, run.data_used, run.data.augment, torch.device("cpu"))
    ranks = RanksOfGroup(distributed.get_rank(), PROCESSES)
    training = Training(run, data, torch.device("cpu"), ranks=ranks)
    with Sent() as sent:
        progress = BytesByDepth(sent)
        train_epoch(training, 0, run.total_steps, progress)
    return progress.found


def rows_of(config: Path) -> Iterator[Row]:
    """A row for each number of frozen units."""
    model = load(config).model
    units = len(model.build_on_meta(CLASSES, IMAGES))
    of_run = bytes_of_run(config, units)
    for frozen in range(units):
        row = {"network": model.title(), "units": units, "frozen": frozen}
        for way, make in WAYS.items():
            row[way] = bytes_of_step(model.build(CLASSES, IMAGES), make, frozen)
        yield row | {OWN: of_run[frozen]}


def measure(rank: int, meeting: str, output: Path) -> None:
    """What each process does; the first writes the file."""
    torch.set_num_threads(1)
    store = distributed.FileStore(meeting, PROCESSES)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=PROCESSES)
    rows = [row for name in NETWORKS for row in rows_of(CONFIGS / f"{name}.toml")]
    distributed.destroy_process_group()
    if rank == 0:
        with output.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    os._exit(0)  # gloo's threads outlive the group, and can abort Python's end


def read_rows(path: Path = ROWS) -> list[Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def table(rows: Sequence[Row]) -> str:
    """Markdown: kilobytes with nothing, half of the units, and all but the head frozen."""
    shown = []
    for _, of_network in groupby(rows, key=lambda row: row["network"]):
        found = list(of_network)
        shown += [found[0], found[len(found) // 2], found[-1]]
    heads = [f"{row['network']}: {row['frozen']} of {row['units']}" for row in shown]
    lines = [["kB a step, with units frozen", *heads], ["---"] + ["--:"] * len(shown)]
    lines += [[way, *(f"{int(row[way]) / 1000:.1f}" for row in shown)] for way in (*WAYS, OWN)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(measure, (f"{folder}/store", output), nprocs=PROCESSES)
    print(table(read_rows(output)))


if __name__ == "__main__":
    main()
