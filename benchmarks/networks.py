"""Which networks of torchvision and timm can be cut into units, into how many, and what that saves.

    python benchmarks/networks.py [--check GFLOPS] [--only WORD] [--again WORD] [--table]

All classification networks of torchvision and, of each module of timm, the two with the fewest
parameters; with ten classes, random weights, and dropout and stochastic depth on where they are
options. Each is cut in a process of its own. A row of benchmarks/networks.csv tells the units, the
places between them at which one value crosses or several, the seconds that cutting takes, the share
of the parameters in the largest unit, and the FLOPs that cubic FreezeOut with t0 = 0.8 saves.
Networks of at most GFLOPS are compared with their units bit for bit, forward and backward.

Networks that are in the file are left out, but for those that a higher GFLOPS lets compare and
those with `--again WORD` in their names. docs/networks-table.md, a row for each kind, is written
from the file; `--table` does no more.
"""

import argparse
import csv
import multiprocessing
import os
import resource
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import timm
import torch
import torchvision
from torch import nn

from fobench.costs.flops import run_flops
from fobench.costs.unit_costs import UnitCost, unit_costs
from fobench.cutting.cut import cut_network
from fobench.cutting.cut_network import CutNetwork
from fobench.cutting.recorded_unit import RecordedUnit
from fobench.cutting.verify import differences
from fobench.errors import UserError
from fobench.freezing.schedule import freeze_steps, freeze_times

ROWS = Path(__file__).with_suffix(".csv")
TABLE = Path(__file__).parents[1] / "docs" / "networks-table.md"
COLUMNS = (
    *("network", "kind", "image_size", "parameters", "gflops", "units", "single_cuts"),
    *("several_cuts", "seconds", "largest_percent", "saved_percent", "identical", "refused"),
)
OF_EACH_KIND = 2
NO_CLASSES = "_enc"  # how the names of image encoders for language models end
CLASSES = 10
SCHEDULE = {"t0": 0.8, "scaling": "cubic"}
STEPS = 100_000
MEMORY = 10 * 2**30
TIME_LIMIT = 900  # seconds
DROPS = ({"drop_rate": 0.1, "drop_path_rate": 0.1}, {"drop_rate": 0.1}, {})

Row = dict[str, Any]


def torchvision_kinds() -> dict[str, str]:
    """The module of each classification network."""
    names = torchvision.models.list_models(module=torchvision.models)
    modules = {name: torchvision.models.get_model_builder(name).__module__ for name in names}
    return {f"torchvision:{name}": path.rpartition(".")[2] for name, path in modules.items()}


def timm_kinds(known: Sequence[str]) -> dict[str, str]:
    """The module of each network chosen; modules with enough networks among `known` keep those."""
    chosen: dict[str, str] = {}
    for kind in timm.list_modules():
        names = [each for each in timm.list_models(module=kind) if not each.endswith(NO_CLASSES)]
        kept = [name for name in names if f"timm:{name}" in known][:OF_EACH_KIND]
        if len(kept) < min(OF_EACH_KIND, len(names)):
            kept = sorted(names, key=timm_parameters)[:OF_EACH_KIND]
        chosen |= {f"timm:{name}": kind for name in kept}
    return chosen


def timm_parameters(name: str) -> int:
    with torch.device("meta"):
        return parameters_of(timm.create_model(name, num_classes=CLASSES))


def parameters_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def build(name: str) -> tuple[nn.Module, int]:
    """A network and the size of its images."""
    torch.manual_seed(0)
    library, _, name = name.partition(":")
    if library == "timm":
        network = build_of_timm(name)
        return network, network.pretrained_cfg["input_size"][-1]
    options = {"aux_logits": False, "init_weights": True}
    kept = options if name in ("googlenet", "inception_v3") else {}
    network = torchvision.models.get_model(name, num_classes=CLASSES, **kept)
    return network, 299 if name == "inception_v3" else 224


def build_of_timm(name: str) -> nn.Module:
    for drops in DROPS[:-1]:
        try:
            return timm.create_model(name, num_classes=CLASSES, **drops)
        except TypeError:  # an option that it does not have
            continue
    return timm.create_model(name, num_classes=CLASSES, **DROPS[-1])


def saved_percent(costs: Sequence[UnitCost]) -> float:
    """FLOPs that the schedule saves, in percent of those of training all units to the end."""
    steps = freeze_steps(freeze_times(len(costs), **SCHEDULE), STEPS)
    all_to_the_end = run_flops(costs, [STEPS] * len(costs), STEPS)
    return 100 * (1 - run_flops(costs, steps, STEPS) / all_to_the_end)


def several_cuts(cut: CutNetwork) -> int:
    """The places between units at which more than one value crosses."""
    recorded = [unit for unit in cut if isinstance(unit, RecordedUnit)]
    return sum(len(unit.training_program.starts) > 1 for unit in recorded)


def survey(name: str, kind: str, check_gflops: float) -> Iterator[Row]:
    """The row of a network: before it is compared with its units, and after."""
    row: Row = {"network": name, "kind": kind}
    network, size = build(name)
    row |= {"image_size": size, "parameters": parameters_of(network)}
    start = time.perf_counter()
    try:
        cut = cut_network(network, (size, size, 3), check=False)
    except UserError as error:
        yield row | {"refused": str(error)}
        return
    row["seconds"] = round(time.perf_counter() - start, 2)
    several = several_cuts(cut)
    row |= {"units": len(cut), "single_cuts": len(cut) - 1 - several, "several_cuts": several}
    in_units = [parameters_of(unit) for unit in cut]
    row["largest_percent"] = round(100 * max(in_units) / sum(in_units), 1)
    costs = unit_costs(cut, (size, size, 3))
    row["gflops"] = round(sum(cost.flops for cost in costs) / 1e9, 3)
    row["saved_percent"] = round(saved_percent(costs), 2)
    yield row
    if row["gflops"] <= check_gflops:
        wrong = differences(network, cut, (size, size, 3))
        yield row | {"identical": f"no: {', '.join(wrong)}" if wrong else "yes"}


def survey_apart(name: str, kind: str, check_gflops: float) -> Row:
    """The same from a process of its own, which may crash, or need too much memory or time."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        warnings.simplefilter("ignore")
        try:
            for row in survey(name, kind, check_gflops):
                sender.send(row)
            sender.send(None)
        except Exception as error:
            sender.send(f"{type(error).__name__}: {error}".partition("\n")[0])

    process = context.Process(target=work)
    process.start()
    sender.close()
    row: Row = {"network": name, "kind": kind}
    failure = None
    try:
        while receiver.poll(TIME_LIMIT):
            answer = receiver.recv()
            if not isinstance(answer, dict):
                failure = answer
                break
            row = answer
        else:
            failure = f"no answer within {TIME_LIMIT} seconds"
    except EOFError:
        failure = "the process died"
    process.kill()
    process.join()
    if failure:
        row["identical" if "units" in row else "refused"] = f"failed: {failure}"
    return row


def needs_work(row: Row | None, check_gflops: float) -> bool:
    """Whether a network is not in the file, or is not compared although it is small enough."""
    return row is None or bool(
        row["units"] and not row["identical"] and float(row["gflops"]) <= check_gflops
    )


def read_rows() -> dict[str, Row]:
    if not ROWS.exists():
        return {}
    with ROWS.open(newline="") as file:
        return {row["network"]: row for row in csv.DictReader(file)}


def write_rows(rows: Sequence[Row]) -> None:
    ordered = sorted(rows, key=lambda row: (not row["network"].startswith("torchvision"),
                                            row["kind"], row["network"]))  # fmt: skip
    with ROWS.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(ordered)


def spread(rows: Sequence[Row], column: str, form: str = "{:.0f}") -> str:
    """The least and the greatest value of a column."""
    values = [float(row[column]) for row in rows if row[column]]
    ends = [form.format(each) for each in (min(values), max(values))] if values else ["–"]
    return "–".join(dict.fromkeys(ends))


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of Markdown: a row for each kind, and the networks that are refused."""
    cut = [row for row in rows if row["units"]]
    identical = sum(row["identical"] == "yes" for row in rows)
    compared = sum(is_compared(row) for row in rows)
    yield "<!-- Written by benchmarks/networks.py from benchmarks/networks.csv. -->"
    yield from ("", "# Networks of torchvision and timm, cut into units", "")
    yield (
        f"{len(cut)} of {len(rows)} networks are cut into units; of {compared} compared with their "
        f"units bit for bit, {identical} are identical. A unit with most of the parameters leaves "
        "little to freeze, whatever share of the FLOPs that would save."
    )
    yield ""
    yield (
        "| library | kind | networks | units | cuts where several values cross | seconds to cut "
        "| largest unit, % of parameters | FLOPs saved by cubic 0.8, % | identical |"
    )
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|"
    kinds: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        kinds[row["network"].partition(":")[0], row["kind"]].append(row)
    for (library, kind), those in kinds.items():
        found = sum(bool(row["units"]) for row in those)
        count = f"{found} of {len(those)}" if found < len(those) else f"{found}"
        answers = [row["identical"] for row in those if is_compared(row)]
        numbers = (
            spread(those, "units"),
            spread(those, "several_cuts"),
            spread(those, "seconds", "{:.1f}"),
            spread(those, "largest_percent"),
            spread(those, "saved_percent"),
            f"{answers.count('yes')} of {len(answers)}",
        )
        yield f"| {library} | {kind} | {count} | {' | '.join(numbers)} |"
    refused = [f"- `{row['network']}`: {row['refused']}" for row in rows if row["refused"]]
    odd = [
        f"- `{row['network']}`: {row['identical']}"
        for row in rows
        if row["identical"] not in ("", "yes")
    ]
    for heading, lines in (("Refused:", refused), ("Different, or not compared:", odd)):
        if lines:
            yield from ("", heading, "", *lines)


def is_compared(row: Row) -> bool:
    return row["identical"].startswith(("yes", "no"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", type=float, default=5.0, metavar="GFLOPS")
    parser.add_argument("--only", default="", metavar="WORD")
    parser.add_argument("--again", default="(none)", metavar="WORD")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = read_rows()
    kinds = {} if given.table else torchvision_kinds() | timm_kinds(list(rows))
    for name, kind in kinds.items():
        is_due = needs_work(rows.get(name), given.check) or given.again in name
        if given.only in name and is_due:
            rows[name] = survey_apart(name, kind, given.check)
            write_rows(list(rows.values()))
            print(*(rows[name].get(column, "") for column in COLUMNS), flush=True)
    TABLE.write_text("\n".join(table(list(read_rows().values()))) + "\n")


if __name__ == "__main__":
    main()
