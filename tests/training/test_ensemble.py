"""Ensembles: their snapshots, what is shared, their test errors, and the file they are kept in."""

import io
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import nll_loss

from fobench.activations.plan import STORE_NOTHING
from fobench.costs.unit_costs import unit_costs_of
from fobench.data import split
from fobench.data.synthetic import open_synthetic
from fobench.errors import UserError
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.experiment.run import Run
from fobench.machine.clock import timed
from fobench.methods import BaselineOptions, EnsembleOptions, SnapshotOptions
from fobench.models import build
from fobench.records.runs import read_run
from fobench.training import loop
from fobench.training.ensemble import (
    Member,
    evaluate_ensemble,
    load_members,
    log_probabilities,
    member_logits,
)
from fobench.training.loop import DivergedError, train, train_epoch
from fobench.training.state import Training, build_network
from tests.activations.small_runs import (
    CPU,
    Unseen,
    augmented,
    learned,
    loaded,
    plan_of_all,
    same_weights,
    small_run,
    train_all,
)
from tests.conftest import TINY
from tests.tuples import TuplesOptions

CYCLES = 4  # of two epochs each


@pytest.fixture
def residual(tiny) -> Run:
    """A run of the network that has both BatchNorm and dropout within its units."""
    return small_run(tiny, "wideresnet")


def snapshot(run: Run, **options) -> Run:
    return replace(run, method=SnapshotOptions(**{"cycles": CYCLES} | options))


def freezing(run: Run, **options) -> Run:
    return snapshot(run, **{"scaling": "linear", "t0": 0.2} | options)


def independent(run: Run) -> Run:
    return replace(run, method=EnsembleOptions(members=CYCLES))


def trained(run: Run, plan=STORE_NOTHING) -> Training:
    return train_all(run, plan)[0]


def whole_networks(training: Training) -> list[torch.nn.Sequential]:
    """Each member as a network of its own."""
    networks = []
    for weights in training.snapshots.weights:
        network = build_network(training.run).to(memory_format=torch.channels_last)
        network.load_state_dict(weights)
        networks.append(network.eval())
    return networks


def require_explicit_average(ensemble: dict, networks, images, labels) -> None:
    """The recorded errors are those of an average of softmax, taken member by member."""
    with torch.no_grad():
        probabilities = [network(images).double().softmax(dim=1) for network in networks]
    for each, single in zip(ensemble["members"], probabilities, strict=True):
        require_errors(each, single, labels)
    assert len(ensemble["last"]) == len(networks)
    for each in ensemble["last"]:
        mean = sum(probabilities[-each["members"] :]) / each["members"]
        require_errors(each, mean, labels)


def require_errors(tested: dict, probabilities: torch.Tensor, labels: torch.Tensor) -> None:
    wrong = (probabilities.argmax(dim=1) != labels).double().mean()
    assert tested["test_error"] == pytest.approx(100 * float(wrong))
    loss = float(nll_loss(probabilities.log(), labels))
    assert tested["test_loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("method", [snapshot, freezing, independent])
def test_its_errors_are_those_of_an_explicit_average_over_the_members(run, method):
    training = trained(method(run))
    tested = evaluate_ensemble(training)
    images, labels = training.data.test.batch(torch.arange(20))
    require_explicit_average(tested, whole_networks(training), images, labels)
    assert [each["epoch"] for each in tested["members"]] == [2, 4, 6, 8]
    assert [each["step"] for each in tested["members"]] == [10, 20, 30, 40]
    assert tested["last"][0]["test_error"] == tested["members"][-1]["test_error"]


def test_the_last_member_is_the_network_as_trained(run):
    training, rows = train_all(freezing(run), STORE_NOTHING)
    weights = training.snapshots.weights[-1]
    assert all(
        torch.equal(weights[key], each) for key, each in training.network.state_dict().items()
    )
    last = evaluate_ensemble(training)["members"][-1]
    assert last["test_error"] == rows[-1].test_error
    assert last["test_loss"] == pytest.approx(rows[-1].test_loss)


def test_members_differ_where_nothing_is_frozen(residual):
    """A snapshot is a copy, not the tensors that training goes on to change."""
    for method in (snapshot, independent):
        members = trained(method(residual)).snapshots
        assert members.frozen == [0] * CYCLES
        for one, other in zip(members.weights[:-1], members.weights[1:], strict=True):
            floats = [key for key in one if one[key].is_floating_point()]
            assert not any(torch.equal(one[key], other[key]) for key in floats)


def test_members_share_the_units_that_were_frozen_while_they_were_trained(run):
    """The same tensors, so that they are held and saved once; all others differ."""
    members = trained(freezing(run)).snapshots
    names = [name for name, _ in build_network(run).named_children()]
    assert members.frozen[0] == 0 < members.frozen[1] < members.frozen[-1]
    pairs = zip(members.weights[:-1], members.weights[1:], members.frozen[1:], strict=True)
    for one, other, frozen in pairs:
        for key in one:
            is_shared = names.index(key.partition(".")[0]) < frozen
            assert (one[key] is other[key]) == is_shared
            if one[key].is_floating_point():
                assert torch.equal(one[key], other[key]) == is_shared


@pytest.mark.parametrize("method", [snapshot, freezing])
def test_running_shared_units_once_gives_the_bits_of_running_each_member_whole(run, method):
    training = trained(method(run))
    images, _ = training.data.test.batch(torch.arange(20))
    members = load_members(training.run, training.snapshots, CPU)
    with torch.no_grad():
        logits = list(member_logits(members, images))
        expected = [network(images) for network in whole_networks(training)]
    assert all(map(torch.equal, logits, expected))


def test_members_whose_units_write_in_place_to_what_is_shared_change_no_other(residual):
    """To the images, and to tuples behind frozen units."""
    images = torch.randn(4, 3)
    members = [Member((), [unit]) for unit in (torch.nn.ReLU(inplace=True), torch.nn.Identity())]
    one, other = member_logits(members, images)
    assert torch.equal(other, images)
    assert torch.equal(one, images.relu())
    training = trained(freezing(replace(residual, model=TuplesOptions())))
    assert training.snapshots.frozen == [0, 1, 2, 3]
    images, _ = training.data.test.batch(torch.arange(20))
    members = load_members(training.run, training.snapshots, CPU)
    with torch.no_grad():
        logits = list(member_logits(members, images))
        expected = [network(images) for network in whole_networks(training)]
    assert all(map(torch.equal, logits, expected))


def test_shared_units_run_once_for_all_members(run):
    """As many units run as distinct ones are held."""
    training = trained(freezing(run))
    members = load_members(training.run, training.snapshots, CPU)
    ran = []
    for member in members:
        for unit in (*member.shared, *member.own):
            unit.register_forward_hook(lambda *_: ran.append(1))
    images, _ = training.data.test.batch(torch.arange(20))
    with torch.no_grad():
        list(member_logits(members, images))
    units, shared = len(training.network), training.snapshots.frozen[1:]
    assert shared[-1] > 0
    assert len(ran) == CYCLES * units - sum(shared)


def test_the_cost_of_evaluation_counts_shared_units_once(run):
    assert evaluate_ensemble(trained(snapshot(run)))["forward_flops"] == CYCLES
    training = trained(freezing(run))
    tested, flops = evaluate_ensemble(training), [cost.flops for cost in unit_costs_of(run)]
    ran = 0
    for member in load_members(training.run, training.snapshots, CPU):
        units = [*member.shared, *member.own]
        ran += sum(flops[len(flops) - len(units) :])
    assert ran < CYCLES * sum(flops)
    assert tested["forward_flops"] == pytest.approx(ran / sum(flops))
    assert tested["shared_units"] == training.snapshots.frozen[1:]
    assert tested["eval_seconds"] > 0
    assert tested["single_eval_seconds"] > 0


def test_momentum_and_weights_carry_on_over_a_restart(residual):
    training = Training(snapshot(residual), loaded(residual), CPU)
    for epoch in range(2):
        train_epoch(training, epoch, 5, Unseen())
    weights = {key: each.clone() for key, each in training.network.state_dict().items()}
    momentum = [state["momentum_buffer"].clone() for state in training.optimizer.state.values()]
    training.start_member()
    training.start_epoch(2)
    assert len(training.snapshots) == 1
    assert all(torch.equal(weights[key], now) for key, now in training.network.state_dict().items())
    assert all(
        torch.equal(before, state["momentum_buffer"]) and before.any()
        for before, state in zip(momentum, training.optimizer.state.values(), strict=True)
    )


def test_the_first_member_of_an_ensemble_is_the_baseline_trained_for_its_share(run):
    """Bit for bit; so each member is a baseline, from other initial weights."""
    shorter, _ = train_all(
        replace(run, method=BaselineOptions(epoch_share=1 / CYCLES)), STORE_NOTHING
    )
    first = trained(independent(run)).snapshots.weights[0]
    assert all(torch.equal(first[key], each) for key, each in shorter.network.state_dict().items())


def test_every_member_of_an_ensemble_starts_from_weights_of_its_own_without_momentum(residual):
    training, starts = Training(independent(residual), loaded(residual), CPU), []
    for epoch in range(8):
        if epoch % 2 == 0:
            training.start_member()
            starts.append(
                {key: each.clone() for key, each in training.network.state_dict().items()}
            )
            for state in training.optimizer.state.values():
                assert not state["momentum_buffer"].any()
        train_epoch(training, epoch, 5, Unseen())
    for member, start in enumerate(starts):
        expected = build_network(residual, member).state_dict()
        assert all(torch.equal(start[key], expected[key]) for key in expected)
    kernel = next(key for key in starts[0] if starts[0][key].dim() == 4)
    assert len({float(start[kernel].sum()) for start in starts}) == CYCLES


def test_a_float32_store_changes_no_bit_of_a_snapshot_ensemble(run):
    stored = augmented(freezing(run, views=2, precompute=True, store="float32"), "random")
    plain = replace(stored, method=stored.method.without_store())
    (with_store, rows), (without, plain_rows) = (
        train_all(stored, plan_of_all(stored)),
        train_all(plain, STORE_NOTHING),
    )
    assert with_store.activations.bytes > 0
    assert learned(rows) == learned(plain_rows)
    assert same_weights(with_store, without)
    one, other = (evaluate_ensemble(each) for each in (with_store, without))
    assert one["members"] == other["members"]
    assert one["last"] == other["last"]


@pytest.mark.parametrize(
    "method",
    [
        freezing,
        pytest.param(snapshot, marks=pytest.mark.slow),
        pytest.param(independent, marks=pytest.mark.slow),
    ],
)
def test_a_run_resumes_exactly_from_the_end_of_any_epoch(residual, method):
    """In a cycle, at its end, and after the last; the snapshots of a checkpoint stay shared."""
    whole, rows, states = Training(method(residual), loaded(residual), CPU), [], []
    for row in train(whole, Unseen()):
        rows.append(row)
        states.append(io.BytesIO())
        torch.save(whole.state_dict(), states[-1])
    for epochs, state in enumerate(states, start=1):
        state.seek(0)
        resumed = Training(method(residual), loaded(residual), CPU)
        resumed.load_state_dict(torch.load(state, map_location="cpu", weights_only=True))
        assert len(resumed.snapshots) == epochs // 2
        assert learned(list(train(resumed, Unseen()))) == learned(rows[epochs:])
        assert same_weights(resumed, whole)
        assert resumed.snapshots.frozen == whole.snapshots.frozen
        for one, other in zip(resumed.snapshots.weights, whole.snapshots.weights, strict=True):
            assert all(torch.equal(one[key], other[key]) for key in other)
        assert storages(resumed.snapshots.weights) == storages(whole.snapshots.weights)


def storages(members) -> int:
    """How many distinct tensors the members hold."""
    return len(
        {each.untyped_storage().data_ptr() for member in members for each in member.values()}
    )


CONFIG = f"""{TINY.partition("[[method]]")[0].replace("epochs = 3", "epochs = 4")}
[[method]]
name = "baseline"

[[method]]
name = "snapshot"
cycles = 4
scaling = ["none", "cubic"]
keep_snapshots = true

[[method]]
name = "ensemble"
members = 4
"""


def test_the_kept_file_holds_the_members_and_what_they_share_once(fobench, tmp_path):
    """From the command line to networks built anew: the recorded errors come back."""
    config = tmp_path / "snapshots.toml"
    config.write_text(CONFIG)
    assert fobench("run", config, "--results", tmp_path).exit_code == 0
    runs = expand(load(config), open_synthetic("synthetic", 55, 20))
    data = split.load(open_synthetic("synthetic", 55, 20), runs[0].data_used, "random", CPU)
    images, labels = data.test.batch(torch.arange(20))
    sizes = {}
    for run in runs:
        path = tmp_path / "tiny" / run.id / "snapshots.pt"
        assert path.exists() == run.method.keeps_members
        if not path.exists():
            continue
        content = torch.load(path, weights_only=True)
        assert (content["format"], content["run"]) == (1, run.id)
        networks = []
        for weights in content["members"]:
            networks.append(build("densenet", 10, depth=10, growth_rate=4))
            networks[-1].load_state_dict(weights)
            networks[-1].to(memory_format=torch.channels_last).eval()
        ensemble = read_run(path.parent).record["ensemble"]
        require_explicit_average(ensemble, networks, images, labels)
        sizes[run.method.scaling] = storages(content["members"]), path.stat().st_size
    assert sizes["cubic"] < sizes["none"]
    assert sizes["cubic"][1] < sizes["none"][1]


def test_a_run_that_is_trained_again_leaves_no_snapshots_of_before(fobench, tmp_path, monkeypatch):
    """Nor what a process was writing when it died."""
    config = tmp_path / "snapshots.toml"
    config.write_text(CONFIG)
    words = ("run", config, "--results", tmp_path, "--only", "snapshot-4-lr0.2_")
    assert fobench(*words).exit_code == 0
    (kept,) = tmp_path.glob("tiny/*/snapshots.pt")
    kept.with_name(".snapshots.pt.0123abcd").write_bytes(b"half of it")

    def broken(*_):
        raise RuntimeError("for the test")

    monkeypatch.setattr("fobench.training.execute.train", broken)
    assert fobench(*words, "--force").exit_code == 1
    assert [path.name for path in kept.parent.iterdir() if "snapshots" in path.name] == []


def test_a_single_model_has_no_ensemble_and_a_finished_ensemble_says_its_error(
    fobench, tmp_path, caplog
):
    config = tmp_path / "snapshots.toml"
    config.write_text(CONFIG)
    fobench("run", config, "--results", tmp_path)
    for folder in (tmp_path / "tiny").glob("*_*"):
        record = read_run(folder).record
        is_single = record["run"]["method"]["name"] == "baseline"
        assert ("ensemble" in record) != is_single
    assert sum("test error of the ensemble" in each for each in caplog.messages) == 3


def test_log_probabilities_do_not_underflow():
    """A member that is certain and wrong leaves the mean at that of the others."""
    certain = torch.tensor([[0.0, 5000.0]])
    undecided = torch.tensor([[1.0, 1.0]])
    of_last, of_both = log_probabilities([certain, undecided])
    assert of_last.exp() == pytest.approx(torch.tensor([[0.5, 0.5]]))
    assert of_both.exp() == pytest.approx(torch.tensor([[0.25, 0.75]]))
    assert float(log_probabilities([certain])[0, 0, 0]) == -5000


def test_a_member_whose_loss_is_not_finite_ends_the_run_as_diverged(residual):
    """Whatever the others do; epochs cannot tell without validation images."""
    training = trained(snapshot(residual))
    head = next(key for key in reversed(training.snapshots.weights[1]) if key.endswith("weight"))
    training.snapshots.weights[1][head].fill_(torch.inf)
    with pytest.raises(DivergedError, match="member 2 of the ensemble"):
        evaluate_ensemble(training)


@pytest.mark.parametrize(
    "options", [{"momentum": 0.0, "nesterov": False}, {"precision": "bfloat16"}]
)
def test_members_start_anew_and_are_tested_without_momentum_and_in_bfloat16(residual, options):
    plain = replace(independent(residual), train=residual.train.replace(**options))
    tested = evaluate_ensemble(trained(plain))
    assert [each["epoch"] for each in tested["members"]] == [2, 4, 6, 8]
    assert all(0 < each["test_loss"] < 100 for each in tested["last"])


def test_members_are_built_before_the_clock_starts(residual, monkeypatch):
    """The first is, too."""
    events = []

    @contextmanager
    def noted(device):
        events.append("start")
        with timed(device) as found:
            yield found
        events.append("stop")

    def built(self, member):
        events.append(f"member {member}")

    monkeypatch.setattr("fobench.training.loop.timed", noted)
    monkeypatch.setattr(Training, "_start_anew", built)
    trained(replace(residual, method=EnsembleOptions(members=2)))
    place = events.index("member 1")
    assert events[:place].count("start") == events[:place].count("stop")
    assert [each for each in events if each.startswith("member")] == ["member 1"]


def test_an_ensemble_may_train_a_share_of_the_steps(residual):
    shorter = replace(residual, method=EnsembleOptions(members=2, epoch_share=0.5))
    assert [each["epoch"] for each in evaluate_ensemble(trained(shorter))["members"]] == [2, 4]


@pytest.mark.parametrize(
    ("fails", "error", "status"),
    [
        ("fobench.training.ensemble.evaluate_ensemble", RuntimeError("for the test"), 1),
        ("fobench.training.snapshots.write_bytes", UserError("the disk is full"), 2),
    ],
)
def test_an_ensemble_that_was_not_tested_or_kept_is_so_without_training_again(
    fobench, tmp_path, monkeypatch, fails, error, status
):
    """The last epoch is saved before; the end is that of a run left alone.

    Its time counts, as it was not trained in pieces, wherever it is tested.
    """

    def failing(*_):
        raise error

    config = tmp_path / "snapshots.toml"
    config.write_text(CONFIG)
    words = ("run", config, "--only", "cubic", "--results")
    assert fobench(*words, tmp_path / "alone").exit_code == 0
    with monkeypatch.context() as broken:
        broken.setattr(fails, failing)
        assert fobench(*words, tmp_path / "mine").exit_code == status
    trained_epochs = []
    train_epoch = loop.train_epoch
    monkeypatch.setattr(
        loop, "train_epoch", lambda *args: trained_epochs.append(1) or train_epoch(*args)
    )
    assert fobench(*words, tmp_path / "mine", "--untimed").exit_code == 0
    assert trained_epochs == []
    alone, mine = (
        read_run(next(path for path in (tmp_path / name / "tiny").iterdir() if path.is_dir()))
        for name in ("alone", "mine")
    )
    assert mine.ensemble["last"] == alone.ensemble["last"]
    assert learned(mine.epochs) == learned(alone.epochs)
    assert (mine.record["resumed"], mine.record["timed"]) == (False, True)
    assert [each["epochs"] for each in mine.record["resumed_at"]] == [4]
    assert sorted(path.name for path in (tmp_path / "mine" / "tiny" / mine.id).iterdir()) == [
        *("epochs.csv", "run.json", "snapshots.pt")
    ]
