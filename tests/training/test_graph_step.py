"""The training step as a graph: the same bits as operation by operation, with the CPU's graphs."""

import io
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from fobench.activations.frozen_prefix import FrozenPrefix
from fobench.activations.plan import STORE_NOTHING
from fobench.costs.flops import freeze_steps_of
from fobench.experiment.run import Run
from fobench.freezing.frozen import FrozenUnits
from fobench.freezing.units import units_of
from fobench.machine import graphs
from fobench.machine.graphs import CaptureError, Graphs, Repeated
from fobench.methods import BaselineOptions, EnsembleOptions, SnapshotOptions
from fobench.records.runs import read_record
from fobench.training import optimizer, state
from fobench.training.loop import train
from fobench.training.state import Training
from fobench.training.step import Batch, StepsUntilFreeze
from tests.activations.small_runs import (
    CPU,
    Unseen,
    augmented,
    learned,
    loaded,
    method,
    plan_of_all,
    same_weights,
    small_run,
    train_all,
)
from tests.training.cpu_graphs import CpuGraphs
from tests.training.twins import Twins
from tests.tuples import TuplesOptions


@pytest.fixture(autouse=True)
def graphs_of_the_cpu(monkeypatch):
    """Graphs and fused updates on the CPU, captured although few steps follow."""
    monkeypatch.setattr(state, "Graphs", CpuGraphs)
    monkeypatch.setattr(optimizer, "FUSED", {"cpu"})
    monkeypatch.setattr(graphs, "MIN_REPLAYS", 2)


@pytest.fixture
def run_of_tuples(tiny) -> Run:
    return replace(small_run(tiny, "densenet"), model=TuplesOptions())


def stepping(run: Run, mode: str, **options) -> Run:
    return replace(run, train=run.train.replace(step=mode, **options))


def train_both(run: Run, plan=STORE_NOTHING) -> Training:
    """Train with eager steps and with graphs; all results must be equal. Returns the latter."""
    eager, rows = train_all(stepping(run, "eager"), plan)
    graph, graph_rows = train_all(stepping(run, "graph"), plan)
    assert learned(graph_rows) == learned(rows)
    assert same_weights(graph, eager)
    assert sum(graph.graphs.captures) > 0
    return graph


def test_a_step_of_several_ranks_has_the_same_bits(run):
    """Their collective is part of the graph; one for each length of a whole batch."""
    run, found = method(run, t0=0.3), {}
    for mode in ("eager", "graph"):
        training = Training(stepping(run, mode), loaded(run), CPU, ranks=Twins(1, 2))
        found[mode] = training, learned(list(train(training, Unseen())))
    eager, graph = found["eager"], found["graph"]
    assert graph[1] == eager[1]
    assert same_weights(graph[0], eager[0])
    assert sum(graph[0].graphs.captures) > 2
    assert {images for _, images in graph[0].take_step._repeated} == {5, 10}


def test_a_baseline_has_the_same_bits_and_two_graphs(run):
    """One for each length of batch, captured in the first epoch and in the second."""
    graph = train_both(replace(run, method=BaselineOptions()))
    assert graph.graphs.captures == [1, 1, 0, 0, 0, 0, 0, 0]
    assert all(seconds > 0 for seconds in graph.graphs.seconds[:2])


def test_freezing_has_the_same_bits(run):
    graph = train_both(method(run, t0=0.3))
    assert graph.scheduler.frozen > 0
    assert sum(graph.graphs.captures) > 2


@pytest.mark.parametrize(("views", "dtype"), [(1, "float16"), (2, "float32")])
def test_stores_have_the_same_bits(run, views, dtype):
    """They are built by graphs too, and the frozen units behind them are part of the step's."""
    storing = method(augmented(run, "random"), views=views, precompute=True, store=dtype)
    graph = train_both(storing, plan_of_all(storing, every=2))
    assert graph.activations.bytes > 0


@pytest.mark.parametrize(("views", "dtype"), [(1, "float16"), (2, "float32")])
def test_units_that_hand_over_tuples_have_the_same_bits(run_of_tuples, views, dtype):
    """Their tensors are copied to where the graph reads them, and written to there."""
    run = method(run_of_tuples, views=views, precompute=True, store=dtype)
    plan = plan_of_all(run, every=2)
    graph = train_both(run, plan)
    assert {cut for _, cut in plan.builds} >= {2, 3}
    assert graph.activations.bytes > 0
    train_both(method(run_of_tuples, views=views))


def test_work_on_a_tuple_is_replayed_with_other_tuples():
    def work(pair: tuple[torch.Tensor, ...], factor: torch.Tensor) -> tuple[torch.Tensor, ...]:
        one, other = pair
        return other * factor, one.add_(factor)

    repeated = Repeated(work, CpuGraphs(CPU))
    for number in (1.0, 2.0, 3.0, 4.0):
        one, other = torch.full((3,), number), torch.full((2, 4), -number).t()
        product, total = repeated((one, other), torch.tensor(number), calls_left=9)
        assert product.eq(-number * number).all()
        assert product.shape == (4, 2)
        assert total.eq(2 * number).all()
        assert repeated.is_captured == (number > 1)
        assert one.eq(number if repeated.is_captured else 2 * number).all()


def test_bfloat16_has_the_same_bits(run):
    train_both(method(stepping(run, "auto", precision="bfloat16"), t0=0.3))


@pytest.mark.parametrize(
    "options",
    [
        SnapshotOptions(cycles=4),
        SnapshotOptions(cycles=4, scaling="linear", t0=0.3),
        EnsembleOptions(members=4),
    ],
)
def test_ensembles_have_the_same_bits(run, options):
    """Of all members; one that starts anew does so where captured steps read its weights."""
    run = replace(run, method=options)
    graph, eager = train_both(run), train_all(stepping(run, "eager"), STORE_NOTHING)[0]
    for one, other in zip(graph.snapshots.weights, eager.snapshots.weights, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in other)


def test_a_resumed_run_captures_anew_and_ends_with_the_same_bits(run):
    run = stepping(method(run, t0=0.3), "graph")
    whole, rows, states = Training(run, loaded(run), CPU), [], []
    for row in train(whole, Unseen()):
        rows.append(row)
        states.append(io.BytesIO())
        torch.save(whole.state_dict(), states[-1])
    for epochs in (1, 3, 5):
        states[epochs - 1].seek(0)
        resumed = Training(run, loaded(run), CPU)
        resumed.load_state_dict(
            torch.load(states[epochs - 1], map_location="cpu", weights_only=True)
        )
        assert learned(list(train(resumed, Unseen()))) == learned(rows[epochs:])
        assert same_weights(resumed, whole)
        assert len(resumed.graphs.captures) == len(rows)
        assert resumed.graphs.captures[:epochs] == whole.graphs.captures[:epochs]


def test_what_is_captured_to_rebuild_stores_is_no_part_of_an_epoch(run):
    """It is outside the seconds of training."""
    storing = stepping(method(run, views=1, precompute=True, t0=0.3), "graph")
    plan = plan_of_all(storing)
    whole = Training(storing, loaded(run), CPU, plan)
    rows = train(whole, Unseen())
    for _ in range(6):
        next(rows)
    resumed = Training(storing, loaded(run), CPU, plan)
    resumed.load_state_dict(whole.state_dict())
    assert resumed.activations.bytes > 0
    next(rows)
    next(train(resumed, Unseen()))
    # Its steps are captured anew, but the store of this epoch as in the other run.
    assert resumed.graphs.captures[6] - whole.graphs.captures[6] <= 2
    assert len(resumed.graphs.captures) == 7


def test_the_rates_stay_tensors_of_their_own_where_steps_are_captured(run):
    """When set, when the state is loaded, and when it is loaded from a file on the CPU."""
    training = Training(stepping(method(run), "graph"), loaded(run), CPU)
    rates = [group["lr"] for group in training.optimizer.param_groups]
    assert len({rate.data_ptr() for rate in rates}) == len(training.network)
    training.scheduler.step()
    assert all(
        group["lr"] is rate
        for group, rate in zip(training.optimizer.param_groups, rates, strict=True)
    )
    file = io.BytesIO()
    torch.save(training.state_dict(), file)
    file.seek(0)
    training.load_state_dict(torch.load(file, weights_only=True))
    for group, rate in zip(training.optimizer.param_groups, rates, strict=True):
        assert isinstance(group["lr"], torch.Tensor)
        assert torch.equal(group["lr"], rate)


def test_graphs_of_fewer_frozen_units_are_dropped_when_one_is_captured(run):
    training = Training(stepping(method(run, t0=0.3), "graph"), loaded(run), CPU)
    for _ in train(training, Unseen()):
        held = {
            prefix.end
            for (prefix, _), each in training.take_step._repeated.items()
            if each.is_captured
        }
        assert len(held) <= 1


def test_nothing_is_captured_where_few_steps_follow(run, monkeypatch):
    monkeypatch.setattr(graphs, "MIN_REPLAYS", 41)
    training, _ = train_all(stepping(method(run), "graph"), STORE_NOTHING)
    assert sum(training.graphs.captures) == 0


def test_the_steps_until_the_next_freeze_by_counting(run):
    """Of full batches each step until then, of short ones one an epoch."""
    run = method(run, t0=0.3)
    freeze_steps, lengths = freeze_steps_of(run), [10, 10, 10, 10, 5] * 8
    until = StepsUntilFreeze(freeze_steps, 40, 5, 10)
    frozen = [sum(step <= now for step in freeze_steps) for now in range(40)]
    for number, length in enumerate(lengths):
        same = [
            now
            for now in range(number, 40)
            if frozen[now] == frozen[number] and (length == 10 or lengths[now] == length)
        ]
        assert until.left(number, length) == len(same)


def test_frozen_units_that_are_rounded_elsewhere_are_another_graph(run):
    """Of two views, one may have been stored at cuts where the other was not."""
    training = Training(stepping(run, "graph"), loaded(run), CPU)
    FrozenUnits(units_of(training.network), training.optimizer).freeze(2)
    training.network.train()
    images, labels = training.data.train.batch(torch.arange(10))
    prefixes = [FrozenPrefix(0, 2, cuts, torch.bfloat16) for cuts in ((1,), (2,), (1, 2))]
    prefixes += [FrozenPrefix(0, 2, (1,), torch.float16)]
    for number in range(3):
        for prefix in prefixes:
            training.take_step(number, Batch(images, labels, prefix, 10))
    assert training.graphs._captures == len(prefixes)


@pytest.mark.parametrize("draw", [random.random, np.random.rand])
def test_work_that_draws_on_the_host_cannot_be_captured(draw):
    """A graph would draw once and for all. Of torch's own generator, see the real class."""
    repeated = Repeated(lambda values: values * draw(), CpuGraphs(CPU))
    repeated(torch.ones(2), calls_left=9)
    if draw is random.random:
        with pytest.raises(CaptureError, match="draws random numbers on the host"):
            repeated(torch.ones(2), calls_left=8)
    before = Graphs.random_state_of_the_host(CpuGraphs(CPU))
    assert Graphs.random_state_of_the_host(CpuGraphs(CPU)) == before
    draw()
    assert Graphs.random_state_of_the_host(CpuGraphs(CPU)) != before
    before = Graphs.random_state_of_the_host(CpuGraphs(CPU))
    torch.rand(1)
    assert Graphs.random_state_of_the_host(CpuGraphs(CPU)) != before


@pytest.mark.parametrize("failures", [1, 2])
def test_without_memory_for_a_graph_room_is_made_or_steps_stay_eager(failures, monkeypatch):
    """No step is lost either way, and the run tells."""
    made, tries, capture = CpuGraphs(CPU), [], CpuGraphs._capture

    def fail_at_first(graphs, work):
        tries.append(1)
        if len(tries) <= failures:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return capture(graphs, work)

    monkeypatch.setattr(CpuGraphs, "_capture", fail_at_first)
    total = torch.zeros(())
    repeated = Repeated(total.add_, made)
    for number in range(1, 6):
        repeated(torch.ones(()), calls_left=9)
        assert total == number
    assert repeated.is_captured == (failures == 1)
    assert len(tries) == 2
    assert [note.partition(":")[0] for note in made.notes] == (
        [] if failures == 1 else ["no memory for a CUDA graph"]
    )


def test_several_ranks_without_memory_for_a_graph_stop(monkeypatch):
    """NCCL would wait for the ranks that capture what this one runs, or captures again."""
    made, tries, total = CpuGraphs(CPU), [], torch.zeros(())

    def fail(work):
        tries.append(work)
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(made, "_capture", fail)
    monkeypatch.setattr(graphs, "current", lambda: Twins(0, 2))
    repeated = Repeated(total.add_, made)
    repeated(torch.ones(()), calls_left=9)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        repeated(torch.ones(()), calls_left=9)
    assert len(tries) == 1


def test_work_is_run_then_captured_then_replayed():
    calls, total = [], torch.zeros(())

    def work(values: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        total.add_(values.sum())
        return values * 2

    repeated = Repeated(work, CpuGraphs(CPU))
    for number in range(1, 6):
        doubled = repeated(torch.full((3,), float(number)), calls_left=6 - number)
        assert torch.equal(doubled, torch.full((3,), 2.0 * number))
        assert total == 3 * sum(range(1, number + 1)), "no step is lost or doubled"
        assert repeated.is_captured == (number > 1)
    assert len(calls) == 2


def test_work_that_reads_a_value_cannot_be_captured():
    repeated = Repeated(lambda values: values * float(values.sum()), CpuGraphs(CPU))
    repeated(torch.ones(2), calls_left=9)
    with pytest.raises(CaptureError, match=r'set train\.step = "eager"'):
        repeated(torch.ones(2), calls_left=8)


@pytest.fixture
def graph_by_default(monkeypatch):
    """As on CUDA, for runs from the command line."""
    monkeypatch.setattr(state, "step_mode", lambda device, settings: "graph")


@pytest.mark.usefixtures("graph_by_default")
def test_a_run_records_its_captures_by_epoch(fobench, tiny, tmp_path):
    assert fobench("run", tiny).exit_code == 0
    records = [read_record(path.parent) for path in tmp_path.glob("results/tiny/*/run.json")]
    assert len(records) == 4
    for record in records:
        epochs = -(-record["total_steps"] // record["steps_per_epoch"])
        found = record["graphs"]
        assert len(found["captures"]) == len(found["capture_seconds"]) == epochs
        assert found["captures"][0] == 1
        assert found["capture_seconds"][0] > 0


@pytest.mark.usefixtures("graph_by_default")
def test_a_step_that_cannot_be_captured_stops_the_sweep_and_says_what_to_do(
    fobench, tiny, tmp_path, monkeypatch
):
    """Nothing is marked as failed: with the option set, these are other runs."""

    def refuse(graphs, work):
        raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors …")

    monkeypatch.setattr(CpuGraphs, "_capture", refuse)
    ran = fobench("run", tiny)
    assert ran.exit_code == 2
    assert "(operation not permitted when stream is capturing)" in ran.output
    assert 'set train.step = "eager"' in ran.output
    assert "Traceback" not in ran.output
    assert "failed" not in fobench("run", tiny, "--dry-run").output
