"""What the measuring scripts share: the name of the device, and going on after a failure."""

import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable

import torch

from fobench.machine import environment, gpu
from fobench.machine.device import is_lost
from fobench.machine.graphs import CaptureError
from fobench.machine.memory import release_memory


def name_of(device: torch.device) -> str:
    """The card, or the processor."""
    return gpu.describe(device)["gpu"] or environment.processor()


class Measurements:
    """Takes measurements one after another; one that fails does not stop the others.

    Where the process can use the device no longer, another one takes those that are left.
    """

    def __init__(self, device: torch.device, without: Iterable[str]) -> None:
        """Those named `without` are left out."""
        self._device, self._begun, self._failed = device, list(without), list[str]()

    def take(self, name: str, measure: Callable[[], None]) -> None:
        """Take a measurement, and let go what it held."""
        if name in self._begun:
            return
        self._begun.append(name)
        print(f"{name} …", flush=True)
        try:
            measure()
        except Exception as error:
            traceback.print_exc()
            self._failed.append(name)
            useless = isinstance(error, CaptureError) or is_lost(self._device)
        else:
            useless = False
        if useless:
            self._go_on_in_another_process()
        release_memory(self._device)

    def exit(self) -> None:
        """Exit with status 1 if a measurement failed."""
        if self._failed:
            sys.exit(f"failed: {', '.join(self._failed)}")

    def _go_on_in_another_process(self) -> None:
        print("the process can use the device no longer: another one goes on", flush=True)
        without = [word for name in self._begun for word in ("--without", name)]
        status = subprocess.call([sys.executable, *sys.argv, *without])
        # Not sys.exit: on the way out, what the device holds would be freed, which may fail.
        os._exit(max(1, status))
