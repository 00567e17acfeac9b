"""The node of a block: where its first run was started, and the others have to be to be paired.

`results/<experiment>/slurm/seed<seed>.node` names it. It counts while a run of the block has a
record. No torch.
"""

from pathlib import Path

from fobench.records.files import exists, make_folder, read_bytes, write_bytes
from fobench.sweep.plan import Plan


def slurm_folder(plan: Plan) -> Path:
    """What Slurm's jobs keep beside an experiment's results."""
    return plan.folder / "slurm"


def node_of(plan: Plan, seed: int) -> str | None:
    """The node of a block; None if it was not begun, or not in a job. Raises UserError."""
    path = node_file(plan, seed)
    begun = any(exists(plan.folder_of(run) / "run.json") for run in plan.runs if run.seed == seed)
    if not begun or not exists(path):
        return None
    return read_bytes(path).decode(errors="replace").strip() or None


def write_node(plan: Plan, seed: int, node: str) -> None:
    """Raises UserError."""
    make_folder(slurm_folder(plan))
    write_bytes(node_file(plan, seed), f"{node}\n".encode())


def node_file(plan: Plan, seed: int) -> Path:
    return slurm_folder(plan) / f"seed{seed}.node"
