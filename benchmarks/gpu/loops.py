"""Images per second of fobench's training loop, beside loops as one writes them without it.

    python benchmarks/gpu/loops.py --device cuda|cpu --out DIR

Adds rows to DIR/loops.csv. All loops train the same network on the same images, cropped and flipped
at random. Those but the last read them from tensors on the device:

- fobench: `train_epoch`, as `fobench run` takes it on this device, and operation by operation
- plain eager: indices, augmentation, forward, backward, `torch.optim.SGD`
- plain graph: the same, with forward, backward and update as one CUDA graph, written by hand
- data loader: a DataLoader with torchvision's transforms, worker processes and pinned memory
"""

from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
import torch
from measuring import Measurements, name_of
from random_runs import run_of
from rows import LoopRow, Table, parser_of
from sizes import Sizes, sizes_for
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from fobench.data.dataset import DataSet
from fobench.data.find import open_first
from fobench.data.split import Split, load
from fobench.experiment.run import Run
from fobench.machine.clock import timed
from fobench.machine.device import prepare, select
from fobench.machine.threads import cpus_allowed
from fobench.training.loop import train_epoch
from fobench.training.state import Training, build_network

# Trains one epoch, of that number.
Epoch = Callable[[int], None]
EPOCHS = 100  # that the run seems to have
MOST_WORKERS = 8


class Unseen:
    """Progress that nobody watches."""

    def step(self, images: int, frozen: int) -> None: ...


class Images(Dataset):
    """Images as Pillow images, one by one, as torchvision's data sets give them."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: Callable) -> None:
        self._images, self._labels, self._transform = images, labels, transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._transform(self._images[index]), int(self._labels[index])


def fobench_loop(run: Run, dataset: DataSet, device: torch.device) -> Epoch:
    training = Training(run, load(dataset, run.data_used, run.data.augment, device), device)

    def epoch(number: int) -> None:
        train_epoch(training, number, run.steps_per_epoch, Unseen())

    return epoch


def plain(run: Run, device: torch.device) -> tuple[nn.Module, Optimizer]:
    """The network, in the same layout, and an optimizer without groups."""
    network = build_network(run).to(device, memory_format=torch.channels_last).train()
    rates = {"lr": run.train.lr, "momentum": run.train.momentum, "nesterov": run.train.nesterov}
    return network, SGD(network.parameters(), weight_decay=run.train.weight_decay, **rates)


def step_of(
    network: nn.Module, optimizer: Optimizer
) -> Callable[[torch.Tensor, torch.Tensor], None]:
    def step(images: torch.Tensor, labels: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(network(images), labels).backward()
        optimizer.step()

    return step


def batches_of(split: Split, run: Run, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    view = split.draw_view(run.seed, number)
    order = torch.randperm(len(split), device=split.labels.device)
    return (split.batch(indices, view) for indices in order.split(run.train.batch_size))


def eager_loop(run: Run, dataset: DataSet, device: torch.device) -> Epoch:
    step = step_of(*plain(run, device))
    split = load(dataset, run.data_used, run.data.augment, device).train

    def epoch(number: int) -> None:
        for images, labels in batches_of(split, run, number):
            step(images, labels)

    return epoch


def graph_loop(run: Run, dataset: DataSet, device: torch.device) -> Epoch:
    step = step_of(*plain(run, device))
    split = load(dataset, run.data_used, run.data.augment, device).train
    still_images, still_labels = (each.clone() for each in next(batches_of(split, run, 0)))
    for _ in range(3):  # on the stream of the capture
        step(still_images, still_labels)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream(device)):
        step(still_images, still_labels)

    def epoch(number: int) -> None:
        for images, labels in batches_of(split, run, number):
            still_images.copy_(images)
            still_labels.copy_(labels)
            graph.replay()

    return epoch


def loader_loop(run: Run, dataset: DataSet, device: torch.device) -> Epoch:
    step = step_of(*plain(run, device))
    images = dataset.train_images[: run.data_used.train_images]
    pixels = images.reshape(-1, 3) / 255
    transform = transforms.Compose(
        [
            transforms.ToPILImage(),
            transforms.RandomCrop(images.shape[1], padding=run.data_used.padding),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(pixels.mean(axis=0).tolist(), pixels.std(axis=0).tolist()),
        ]
    )
    loader = DataLoader(
        Images(images, dataset.train_labels[: len(images)], transform),
        batch_size=run.train.batch_size,
        shuffle=True,
        num_workers=workers(),
        pin_memory=device.type == "cuda",
        persistent_workers=True,
    )

    def epoch(number: int) -> None:
        for given, labels in loader:
            on_device = given.to(device, non_blocking=True, memory_format=torch.channels_last)
            step(on_device, labels.to(device, non_blocking=True))

    return epoch


def workers() -> int:
    return min(MOST_WORKERS, cpus_allowed() or 1)


def measure(
    sizes: Sizes,
    device: torch.device,
    table: Table,
    measurements: Measurements,
    dataset: DataSet,
) -> None:
    on_cuda = device.type == "cuda"
    for model in sizes.loops:
        size = model, sizes.loop_images, sizes.batch, EPOCHS
        run, eager = (
            run_of(*size, classes=len(dataset.classes), step=step) for step in ("auto", "eager")
        )
        prepare(device, run.train)
        loops = [
            *([("fobench", "graph", fobench_loop, run)] if on_cuda else []),
            *([("plain", "graph", graph_loop, run)] if on_cuda else []),
            ("fobench", "eager", fobench_loop, eager),
            ("plain", "eager", eager_loop, eager),
            ("data loader", "eager", loader_loop, eager),
        ]
        for name, mode, make, of in loops:

            def take(
                name: str = name, mode: str = mode, make: Callable = make, of: Run = of
            ) -> None:
                speeds = speeds_of(make(of, dataset, device), sizes, device)
                table.add(row(of, name, mode, speeds, sizes, device))

            measurements.take(f"{model.title()}, {name}, {mode}", take)


def row(
    run: Run, loop: str, mode: str, speeds: list[float], sizes: Sizes, device: torch.device
) -> LoopRow:
    return LoopRow(
        device=name_of(device),
        torch=torch.__version__,
        network=run.model.title(),
        loop=loop,
        mode=mode,
        batch=sizes.batch,
        images=sizes.loop_images,
        workers=workers() if loop == "data loader" else 0,
        epochs=len(speeds),
        images_per_second=median(speeds),
        low=min(speeds),
        high=max(speeds),
    )


def speeds_of(epoch: Epoch, sizes: Sizes, device: torch.device) -> list[float]:
    """Images per second of each epoch but the first, which starts workers and captures steps."""
    speeds = []
    for number in range(1 + sizes.loop_epochs):
        with timed(device) as whole:
            epoch(number)
        speeds.append(sizes.loop_images / whole.seconds)
    return speeds[1:]


def main() -> None:
    options = parser_of(__doc__).parse_args()
    device = select(options.device)
    torch.manual_seed(0)
    sizes, measurements = sizes_for(options.device), Measurements(device, options.without)
    table = Table(options.out / "loops.csv", LoopRow)
    dataset = open_first(["cifar10", "synthetic"], None, sizes.loop_images, sizes.batch)
    measure(sizes, device, table, measurements, dataset)
    measurements.exit()


if __name__ == "__main__":
    main()
