"""The training loop: paired, repeatable, and the same as doing it by hand."""

import copy
import io
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from fobench.costs.flops import freeze_steps_of
from fobench.data import split
from fobench.data.synthetic import open_synthetic
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.experiment.run import Run
from fobench.machine.seeds import generator, seed_globally
from fobench.methods import BaselineOptions, FreezeOutOptions
from fobench.methods.schedulers import CosineAnnealing
from fobench.models import FAMILIES
from fobench.records.epochs import VOLATILE, Epoch
from fobench.training import loop
from fobench.training.loop import DivergedError, evaluate, train
from fobench.training.optimizer import build_optimizer
from fobench.training.state import Training, build_network
from fobench.training.warmup import evaluation_batch_size, lengths, warm_up
from tests.activations import small_runs
from tests.networks import EACH, EXAMPLES

CPU = torch.device("cpu")
DATASET = open_synthetic("synthetic", 55, 20)
STORED = {"precompute": True, "store": "float32"}


class Watch:
    """Progress that records the steps."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []

    def step(self, images: int, frozen: int) -> None:
        self.steps.append((images, frozen))


@pytest.fixture
def run(tiny) -> Run:
    """The baseline of the tiny experiment: 3 epochs of 5 steps, the last batch of 5 images."""
    return expand(load(tiny), DATASET)[0]


def with_method(run: Run, **options) -> Run:
    return replace(run, method=FreezeOutOptions(**options))


def load_data(run: Run) -> split.Data:
    return split.load(DATASET, run.data_used, run.data.augment, CPU)


def train_all(run: Run, watch: Watch | None = None) -> list[Epoch]:
    return list(train(Training(run, load_data(run), CPU), watch or Watch()))


def repeatable(rows: list[Epoch]) -> list[dict]:
    return [
        {name: cell for name, cell in asdict(row).items() if name not in VOLATILE} for row in rows
    ]


@pytest.mark.parametrize("method", [BaselineOptions(), FreezeOutOptions(scaling="linear", t0=0.3)])
def test_two_runs_of_one_seed_are_equal_but_for_the_volatile_columns(run, method):
    run = replace(run, method=method)
    first = repeatable(train_all(run))
    torch.rand(7)  # what was drawn before must not matter
    assert repeatable(train_all(run)) == first
    assert repeatable(train_all(replace(run, seed=1))) != first


def test_t0_of_one_equals_the_baseline_bit_for_bit(run):
    never = with_method(run, scaling="cubic", t0=1.0)
    assert repeatable(train_all(never)) == repeatable(train_all(run))


def same_images(batches: list[torch.Tensor], filled: list[torch.Tensor]) -> bool:
    pairs = zip(batches, filled, strict=True)
    return all(torch.equal(images, more[: len(images)]) for images, more in pairs)


def test_methods_of_a_seed_see_the_same_weights_images_and_augmentation(run, monkeypatch):
    seen: list[torch.Tensor] = []
    read_images = split.Split.images_at

    def watched(split, indices, view=None):
        seen.append(read_images(split, indices, view))
        return seen[-1]

    monkeypatch.setattr("fobench.training.state.warm_up", lambda *_: None)
    monkeypatch.setattr(split.Split, "images_at", watched)
    batches = []
    for each in (run, with_method(run, t0=0.3), replace(run, seed=1)):
        seen.clear()
        train_all(each)
        batches.append(list(seen))
    # Behind frozen units a short batch is filled up; what is trained on are its first images.
    assert same_images(batches[0], batches[1])
    assert not same_images(batches[0], batches[2])
    first, other = build_network(run), build_network(with_method(run, t0=0.3))
    for one, two in zip(first.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_frozen_units_are_counted_and_freeze_within_an_epoch(run):
    watch = Watch()
    frozen_run = with_method(run, scaling="linear", t0=0.3)
    rows = train_all(frozen_run, watch)
    steps = freeze_steps_of(frozen_run)
    expected = [sum(step <= now for step in steps) for now in range(15)]
    assert [frozen for _, frozen in watch.steps] == expected
    assert [row.frozen_units for row in rows] == [expected[4], expected[9], expected[14]]
    assert len(set(expected[5:10])) > 1
    assert [images for images, _ in watch.steps] == [10, 10, 10, 10, 5] * 3


def of_family(run: Run, family: str) -> Run:
    return replace(run, model=FAMILIES[family](**EXAMPLES[family]))


@pytest.mark.parametrize("family", EACH)
def test_every_family_anneals_and_freezes(run, family, monkeypatch):
    """The published code never advances VGG's step counter, so that its VGG does neither."""
    rates: list[list[float]] = []
    take_step = torch.optim.SGD.step

    def watched(optimizer, *args):
        rates.append([group["lr"] for group in optimizer.param_groups])
        return take_step(optimizer, *args)

    monkeypatch.setattr("fobench.training.state.warm_up", lambda *_: None)
    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    run = with_method(of_family(run, family), scaling="linear", t0=0.3, scale_lr=False)
    rows = train_all(run)
    head = len(rates[0]) - 1
    times = 0.3 + 0.7 * np.arange(head + 1) / head
    progress = np.arange(run.total_steps)[:, None] / run.total_steps
    annealed = 0.05 * (1 + np.cos(np.pi * progress / times))
    np.testing.assert_allclose(rates, np.where(progress < times, annealed, 0), atol=1e-12)
    assert rows[-1].frozen_units == (progress[-1] >= times).sum() > 0


@pytest.mark.parametrize("family", EACH)
def test_every_family_repeats_bit_for_bit(run, family):
    """Dropout included, whose random numbers derive from the seed and the epoch."""
    run = with_method(of_family(run, family), scaling="linear", t0=0.3)
    first = repeatable(train_all(run))
    torch.rand(3)
    assert repeatable(train_all(run)) == first


def test_a_shorter_baseline_ends_annealed_in_a_partial_epoch(run):
    watch = Watch()
    rows = train_all(replace(run, method=BaselineOptions(epoch_share=0.5)), watch)
    assert [(row.epoch, row.step) for row in rows] == [(1, 5), (2, 8)]
    assert len(watch.steps) == 8


def test_validation_after_each_epoch_and_test_after_the_last_only(run):
    rows = train_all(run)
    assert all(row.val_error is not None for row in rows)
    assert [row.test_error is not None for row in rows] == [False, False, True]
    held_out = run.data.replace(validation=0)
    unvalidated = replace(run, data=held_out, data_used=replace(run.data_used, validation_images=0))
    assert all(row.val_error is None for row in train_all(unvalidated))


def test_the_first_epoch_by_hand(run):
    """The whole loop rebuilt with none of its parts but the data, the weights and the seeds."""
    read = load_data(run)
    network = build_network(run).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=15)
    view = read.train.draw_view(0, 0)
    loss_sum = wrong = 0
    order = torch.randperm(45, generator=generator(0, 0, "order"))
    for start in range(0, 45, 10):
        images, labels = read.train.batch(order[start : start + 10], view)
        logits = network(images)
        loss = cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        annealing.step()
        loss_sum += loss.item() * len(labels)
        wrong += int((logits.argmax(1) != labels).sum())
    row = train_all(run)[0]
    assert row.train_loss == pytest.approx(loss_sum / 45, rel=1e-5)
    assert row.train_error == pytest.approx(100 * wrong / 45)
    network.eval()
    with torch.no_grad():
        images, labels = read.validation.batch(torch.arange(10))
        val_error = 100 * float((network(images).argmax(1) != labels).float().mean())
    assert row.val_error == pytest.approx(val_error)


def test_loss_that_is_not_finite_ends_the_run(run):
    with pytest.raises(DivergedError, match="epoch 1"):
        train_all(replace(run, train=run.train.replace(lr=1e6)))


def test_a_loss_that_breaks_after_the_last_step_is_noticed(run, monkeypatch):
    monkeypatch.setattr("fobench.training.loop.evaluate", lambda *_: (float("inf"), 90.0))
    with pytest.raises(DivergedError, match="validation loss after epoch 1 is inf"):
        train_all(run)


def test_a_baseline_saved_and_loaded_resumes(run):
    """Also into an optimizer that has loaded its own state, and so has new parameter groups."""
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    optimizer = build_optimizer(network, run.train)
    method = CosineAnnealing(optimizer, 10)
    resumed_optimizer = build_optimizer(network, run.train)
    resumed = CosineAnnealing(resumed_optimizer, 10)
    for _ in range(4):
        method.step()
    resumed_optimizer.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(method.state_dict())
    method.step()
    resumed.step()
    assert resumed_optimizer.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"] < 0.1


def test_warm_up_leaves_everything_as_it_was(run):
    read = load_data(run)
    network = build_network(run)
    optimizer = build_optimizer(network, run.train)
    cross_entropy(network(read.train.batch(torch.arange(9))[0]), torch.zeros(9).long()).backward()
    optimizer.step()
    before = copy.deepcopy((network.state_dict(), optimizer.state_dict(), torch.get_rng_state()))
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    warm_up(network, optimizer, read, run)
    after = (network.state_dict(), optimizer.state_dict(), torch.get_rng_state())
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_evaluation_counts_a_short_last_batch_by_its_images(run):
    read = load_data(run)
    network = build_network(run).to(memory_format=torch.channels_last)
    loss, error = evaluate(network, read.test, batch_size=7)
    network.eval()
    with torch.no_grad():
        images, labels = read.test.batch(torch.arange(20))
        logits = network(images)
    assert loss == pytest.approx(float(cross_entropy(logits, labels)), rel=1e-5)
    assert error == pytest.approx(100 * float((logits.argmax(1) != labels).float().mean()))


def test_evaluation_on_cuda_takes_as_many_pixels_at_once_as_a_thousand_small_images(run):
    """At least a batch; on the CPU as many images as a step."""
    cuda = torch.device("cuda")
    assert evaluation_batch_size(run, cuda) == 1000
    large = replace(run, data_used=replace(run.data_used, image_shape=(224, 224, 3)))
    assert evaluation_batch_size(large, cuda) == 20
    assert (
        evaluation_batch_size(replace(run, train=run.train.replace(batch_size=2000)), cuda) == 2000
    )
    assert evaluation_batch_size(run, CPU) == 10


def test_warm_up_knows_every_length_of_a_batch(run):
    read = load_data(run)
    assert lengths(10, [read.train]) == [10, 5]
    assert lengths(7, [read.validation, read.test]) == [7, 6, 3]
    assert lengths(50, [read.validation, read.test]) == [20, 10]


def test_a_training_prepares_its_device(run):
    try:
        Training(replace(run, train=run.train.replace(deterministic=True)), load_data(run), CPU)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        Training(run, load_data(run), CPU)
    assert not torch.are_deterministic_algorithms_enabled()


def test_rows_hold_together(run):
    rows = train_all(run)
    seconds = 0.0
    for row in rows:
        seconds += row.train_seconds
        assert row.total_train_seconds == pytest.approx(seconds)
        assert row.images_per_second == pytest.approx(45 / row.train_seconds)
        assert row.train_cpu_seconds > 0
        assert row.peak_memory_bytes > 10_000_000


def test_seeds_derive_from_seed_epoch_and_purpose():
    drawn = set()
    for seed, epoch, purpose in ((0, 0, "order"), (1, 0, "order"), (0, 1, "order"), (0, 0, "x")):
        seed_globally(seed, epoch, purpose)
        drawn.add(torch.rand(1).item())
        assert generator(seed, epoch, purpose).initial_seed() == torch.initial_seed()
    assert len(drawn) == 4


class HostReads(TorchDispatchMode):
    """Counts reads of a tensor's value by Python, for which a device has to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", EACH)
def test_no_training_step_waits_for_the_device(run, tiny, family, monkeypatch):
    """Nor does building and reading a store whose type holds all that float32 does."""
    reads = HostReads()
    train_whole_epoch = loop.train_epoch

    def watched(*args):
        with reads:
            return train_whole_epoch(*args)

    monkeypatch.setattr(loop, "train_epoch", watched)
    run = with_method(of_family(run, family), scaling="linear", t0=0.3)
    assert train_all(run)[-1].frozen_units > 0
    storing = small_runs.method(small_runs.small_run(tiny, family), views=2, **STORED)
    training, _ = small_runs.train_all(storing, small_runs.plan_of_all(storing))
    assert training.activations.bytes > 0
    assert reads.count == 0
    with reads:
        float(torch.ones(1))
    assert reads.count == 1


def require_exact_resume(run: Run, device: torch.device) -> None:
    """From the state after each epoch the same rows follow, through a file as a checkpoint is."""
    read = split.load(DATASET, run.data_used, run.data.augment, device)
    whole, states = Training(run, read, device), []
    rows = []
    for row in train(whole, Watch()):
        rows.append(row)
        states.append(io.BytesIO())
        torch.save(whole.state_dict(), states[-1])
    for epochs, state in enumerate(states, start=1):
        state.seek(0)
        resumed = Training(run, read, device)
        resumed.load_state_dict(torch.load(state, map_location="cpu", weights_only=True))
        torch.rand(5)  # what was drawn before must not matter
        assert resumed.epoch == epochs
        assert repeatable(list(train(resumed, Watch()))) == repeatable(rows[epochs:])
        for one, other in zip(
            whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True
        ):
            assert torch.equal(one, other)


@pytest.mark.parametrize("family", EACH)
def test_a_training_resumes_exactly_from_its_state(run, family):
    require_exact_resume(with_method(of_family(run, family), scaling="linear", t0=0.3), CPU)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("family", EACH)
def test_a_training_resumes_exactly_from_its_state_on_cuda(run, family):
    run = with_method(of_family(run, family), scaling="linear", t0=0.3)
    run = replace(run, train=run.train.replace(deterministic=True))
    require_exact_resume(run, torch.device("cuda"))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("family", EACH)
def test_a_deterministic_run_on_cuda_repeats_bit_for_bit(run, family):
    run = with_method(of_family(run, family), scaling="linear", t0=0.3)
    run = replace(run, train=run.train.replace(deterministic=True))
    device = torch.device("cuda")
    read = split.load(DATASET, run.data_used, run.data.augment, device)
    first, second = (list(train(Training(run, read, device), Watch())) for _ in range(2))
    assert repeatable(first) == repeatable(second)
