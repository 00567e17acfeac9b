"""The test error of an ensemble: the mean of the members' softmax.

Members that were trained behind frozen units share these, so they run once for all of them.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import nll_loss

from fobench.activations.frozen_prefix import forward
from fobench.costs.flops import ensemble_forward_flops
from fobench.costs.unit_costs import unit_costs_of
from fobench.cutting.cut_network import memory_format_of
from fobench.data.split import Split
from fobench.experiment.run import Run
from fobench.machine.clock import timed
from fobench.machine.device import autocast
from fobench.machine.values import Values, map_values
from fobench.training.loop import require_finite
from fobench.training.snapshots import Snapshots, save
from fobench.training.state import Training, build_network
from fobench.training.totals import Totals
from fobench.training.warmup import evaluation_batch_size

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Member:
    """The units of a member behind those that it shares with the one before.

    Of these, `shared` are shared with the next member; `own` are the rest. For example, if 0, 3 and
    5 units were frozen while three members were trained, the first has 3 shared units, the second 2
    (numbers 3 and 4), the last none.
    """

    shared: Sequence[nn.Module]
    own: Sequence[nn.Module]


def evaluate_and_keep(training: Training, folder: Path) -> dict[str, Any]:
    """Test a finished run's ensemble; keep its members, if asked for. Returns its errors."""
    tested = evaluate_ensemble(training)
    log.info(
        "test error of the ensemble %.1f %%, of its members %s %%; running all of them takes %.2f "
        "times the FLOPs of one",
        tested["last"][-1]["test_error"],
        ", ".join(f"{member['test_error']:.1f}" for member in tested["members"]),
        tested["forward_flops"],
    )
    if training.run.method.keeps_members:
        save(folder, training.run, training.snapshots.weights)
    return tested


def evaluate_ensemble(training: Training) -> dict[str, Any]:
    """Test errors of a finished run's ensemble, as written to run.json; what it costs, too.

    Raises DivergedError if the test loss of a member is not finite.
    """
    run, snapshots, split = training.run, training.snapshots, training.data.test
    batch_size = evaluation_batch_size(run, training.device)
    members = load_members(run, snapshots, training.device)
    alone = [Member((), list(training.network.eval()))]
    precision = run.train.precision
    with timed(training.device) as single:
        evaluate_members(alone, split, batch_size, precision)
    with timed(training.device) as whole:
        each, last = evaluate_members(members, split, batch_size, precision)
    for number, totals in enumerate(each, start=1):
        require_finite(totals.means()[0], f"the test loss of member {number} of the ensemble")
    part, epochs = run.total_steps // len(members), run.epochs // len(members)
    shared = snapshots.frozen[1:]
    return {
        "members": [
            {"epoch": number * epochs, "step": number * part, **errors_of(totals)}
            for number, totals in enumerate(each, start=1)
        ],
        "last": [
            {"members": count, **errors_of(totals)} for count, totals in enumerate(last, start=1)
        ],
        "shared_units": shared,
        "forward_flops": ensemble_forward_flops(unit_costs_of(run), shared),
        "eval_seconds": whole.seconds,
        "single_eval_seconds": single.seconds,
    }


def errors_of(totals: Totals) -> dict[str, float]:
    loss, error = totals.means()
    return {"test_loss": loss, "test_error": error}


def load_members(run: Run, snapshots: Snapshots, device: torch.device) -> list[Member]:
    """The members on the device, in evaluation mode; shared units are loaded once."""
    members = []
    for weights, start, end in zip(
        snapshots.weights, snapshots.frozen, [*snapshots.frozen[1:], None], strict=True
    ):
        network = build_network(run)
        network.load_state_dict(weights)
        memory_format = memory_format_of(network)
        units = list(network[start:].to(device, memory_format=memory_format).eval())
        count = 0 if end is None else end - start
        members.append(Member(units[:count], units[count:]))
    return members


def member_logits(members: Sequence[Member], images: torch.Tensor) -> Iterator[torch.Tensor]:
    """The logits [B, classes] of each member."""
    values: Values = images
    for member in members[:-1]:
        values = forward(member.shared, values)
        # A copy, as units may write to it in place.
        yield forward(member.own, map_values(torch.clone, values))
    yield forward(members[-1].own, forward(members[-1].shared, values))


def log_probabilities(logits: Sequence[torch.Tensor]) -> torch.Tensor:
    """Logs of the mean softmax of the last m of M members, at index m - 1: [M, B, classes].

    In logs and float64, so that no probability underflows.
    """
    each = torch.stack([member.double().log_softmax(dim=1) for member in logits])
    counts = torch.arange(1, len(each) + 1, dtype=each.dtype, device=each.device)
    return each.flip(0).logcumsumexp(dim=0) - counts.log()[:, None, None]


@torch.no_grad()
def evaluate_members(
    members: Sequence[Member], split: Split, batch_size: int, precision: str
) -> tuple[list[Totals], list[Totals]]:
    """Loss and error on unaugmented images: of each member, and of the last m at index m - 1."""
    device = split.labels.device
    each, last = ([Totals.zero(device) for _ in members] for _ in range(2))
    for images, labels in split.in_order(batch_size):
        with autocast(device, precision):
            logits = list(member_logits(members, images))
        alone = [member.double().log_softmax(dim=1) for member in logits]
        for totals, log_p in zip([*each, *last], [*alone, *log_probabilities(logits)], strict=True):
            totals.add(nll_loss(log_p, labels), log_p, labels)
            totals.images += len(labels)
    return each, last
