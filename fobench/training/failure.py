"""Runs that fail: what their records and the log say, and which failures end the process."""

import logging
from pathlib import Path
from typing import Any

import torch

from fobench.experiment.run import Run
from fobench.machine.device import is_lost
from fobench.machine.ranks import ALONE, LostRankError, Ranks
from fobench.machine.remedies import remedy
from fobench.models.user_file import described, is_of_users_code
from fobench.training.run_record import end

log = logging.getLogger(__name__)


class DeviceLostError(Exception):
    """The device does not work any more in this process."""


class OutOfStepError(Exception):
    """A run has failed in one rank, and the others are elsewhere in it."""


def end_as_failed(
    run: Run,
    folder: Path,
    record: dict[str, Any],
    error: Exception,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> None:
    """Write the record of a run that failed.

    Raises DeviceLostError if the device is lost, OutOfStepError if other ranks trained it, too.
    """
    reason = log_failure(run, error)
    lost = not isinstance(error, LostRankError) and is_lost(device)
    if lost:
        reason = f"{reason}; the device was lost"
    end(folder, record, "failed", reason)
    if lost:
        # Chained, so that no tensor of the run is freed before the user is told: that may crash.
        raise DeviceLostError(f"{type(error).__name__}: {error}".partition("\n")[0]) from error
    if ranks.count > 1:
        raise OutOfStepError(reason) from error


def log_failure(run: Run, error: Exception) -> str:
    """Log why a run failed. Returns the reason.

    With a traceback, unless the user can mend it, or the error arose in the user's network.
    """
    reason = f"{type(error).__name__}: {error}"
    if (known := remedy(error)) is not None:
        reason = f"{known} ({reason})"
        log.error("%s failed: %s", run.id, reason)
    elif isinstance(error, LostRankError):
        reason = str(error)
        log.error("%s failed: %s", run.id, reason)
    elif is_of_users_code(error):
        reason = described(error)
        log.error("%s failed: %s", run.id, reason)
    else:
        log.error("%s failed", run.id, exc_info=error)
    return reason
