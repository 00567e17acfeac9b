"""The processes that a launcher such as torchrun started for one command. No torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from fobench.errors import UserError

NUMBERS = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_PORT")


@dataclass(frozen=True)
class Launch:
    """This process among those of its command.

    Attributes:
        rank: its number, from 0.
        count: how many there are.
        local_rank: its number on its host, which is that of its GPU.
        address: host and port where the first process can be reached.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    address: tuple[str, int] = ("", 0)


ONE = Launch()


def launched(variables: Mapping[str, str] = os.environ) -> Launch:
    """What the launcher says, by environment variables; one process without them.

    Raises UserError if they are incomplete or contradict each other.
    """
    if variables.get("WORLD_SIZE", "1").strip() == "1":
        return ONE
    missing = [each for each in (*NUMBERS, "MASTER_ADDR") if not variables.get(each)]
    if missing:
        raise UserError(
            f"WORLD_SIZE is {variables['WORLD_SIZE']}, but {', '.join(missing)} is not set: start "
            "the processes with torchrun, or unset WORLD_SIZE to train in one"
        )
    wrong = [each for each in NUMBERS if not variables[each].strip().isdecimal()]
    if wrong:
        raise UserError(f"{each} = {variables[each]}: give a number" for each in wrong)
    count, rank, local_rank, port = (int(variables[each]) for each in NUMBERS)
    if not local_rank <= rank < count or port > 65535:
        told = ", ".join(f"{each} = {variables[each]}" for each in NUMBERS)
        raise UserError(
            f"{told} cannot be: ranks count from 0 to WORLD_SIZE - 1, and no LOCAL_RANK is larger"
        )
    return Launch(rank, count, local_rank, (variables["MASTER_ADDR"], port))


def require_one_process(what: str) -> None:
    """Raises UserError, in the first of several processes; the others end silently."""
    process = launched()
    if process.rank:
        raise SystemExit(0)
    if process.count > 1:
        raise UserError(
            f"{what} works in one process, and {process.count} were started together: start it "
            "without torchrun"
        )
