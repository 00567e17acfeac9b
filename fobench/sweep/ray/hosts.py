"""The nodes where blocks were begun: their other runs have to go there to be paired with those."""

from collections.abc import Sequence
from concurrent.futures import wait

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fobench.machine.host import host
from fobench.records.files import exists
from fobench.records.runs import read_record
from fobench.sweep.plan import Plan

ANSWER_SECONDS = 60.0  # of a node, which starts a worker


def host_of(plan: Plan, seed: int) -> str | None:
    """The host of the first run of a block that was begun; None if none was. Raises UserError."""
    folders = (plan.folder_of(run) for run in plan.runs if run.seed == seed)
    begun = next((each for each in folders if exists(each / "run.json")), None)
    return None if begun is None else read_record(begun)["environment"]["host"]


def nodes_by_host() -> dict[str, str]:
    """Ray's id of each node that answers, by its host, as runs record it."""
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    ask = ray.remote(num_cpus=0, max_retries=0)(host)
    asked = {
        ask.options(scheduling_strategy=on_node(node, soft=False)).remote().future(): node
        for node in nodes
    }
    answered, _ = wait(asked, ANSWER_SECONDS)
    return {each.result(): asked[each] for each in answered if each.exception() is None}


def places_of(blocks: Sequence[tuple[Plan, int]]) -> list[object]:
    """How Ray shall place the task of each block, given as (plan, seed).

    One that was begun goes to its node, and waits for it, unless that is down or can never have
    room. Raises UserError.
    """
    hosts = [host_of(plan, seed) for plan, seed in blocks]
    nodes = nodes_by_host() if any(hosts) else {}
    return [on_node(nodes[each], soft=True) if each in nodes else "DEFAULT" for each in hosts]


def on_node(node: str, soft: bool) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node, soft=soft)
