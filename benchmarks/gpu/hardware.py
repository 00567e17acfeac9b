"""The device, its settings, and how fast it copies.

    python benchmarks/gpu/hardware.py --device cuda|cpu --out DIR

Writes DIR/hardware.jsonl, a JSON object a line; `what` says which.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from measuring import Measurements
from rows import parser_of
from sizes import sizes_for

from fobench.machine import environment
from fobench.machine.clock import Laps
from fobench.machine.device import prepare, select

COPIES = 10
# Read, never set.
ASKED = (
    *("name", "driver_version", "pstate", "clocks.sm", "clocks.mem", "clocks.max.sm"),
    *("power.draw", "power.limit", "temperature.gpu", "utilization.gpu", "memory.used"),
)


def settings(device: torch.device) -> dict[str, Any]:
    """What a run with default settings computes with."""
    return {
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_allow_tf32": torch.backends.cudnn.allow_tf32,
        "matmul_allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "own_stream": device.type == "cuda"
        and torch.cuda.current_stream(device) != torch.cuda.default_stream(device),
    }


def properties(device: torch.device) -> dict[str, Any]:
    found = torch.cuda.get_device_properties(device)
    names = ("name", "major", "minor", "total_memory", "multi_processor_count", "L2_cache_size")
    return {name: getattr(found, name, None) for name in names}


def card() -> dict[str, Any]:
    """What nvidia-smi reads."""
    command = ["nvidia-smi", f"--query-gpu={','.join(ASKED)}", "--format=csv,noheader"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=15)
    return dict(zip(ASKED, told.stdout.splitlines()[0].split(", "), strict=False))


def copy(source: torch.Tensor, target: torch.Tensor, device: torch.device) -> dict[str, Any]:
    """Bytes a second of copying; within a device they are read and written, and count once."""
    laps = Laps(device)
    for _ in range(2):  # warm-up
        target.copy_(source, non_blocking=True)
    laps.mark()
    for _ in range(COPIES):
        target.copy_(source, non_blocking=True)
        laps.mark()
    speeds = [source.nbytes / seconds / 1e9 for seconds in laps.read()]
    return {
        "from": source.device.type,
        "to": target.device.type,
        "pinned": source.is_pinned() or target.is_pinned(),
        "bytes": source.nbytes,
        "copies": COPIES,
        "gigabytes_per_second": median(speeds),
        "low": min(speeds),
        "high": max(speeds),
    }


def within(size: int, device: torch.device) -> dict[str, Any]:
    source = torch.randint(0, 256, (size,), dtype=torch.uint8, device=device)
    return copy(source, torch.empty_like(source), device)


def from_host(size: int, device: torch.device) -> dict[str, Any]:
    return copy(on_host(size, device), torch.empty(size, dtype=torch.uint8, device=device), device)


def to_host(size: int, device: torch.device) -> dict[str, Any]:
    source = torch.randint(0, 256, (size,), dtype=torch.uint8, device=device)
    return copy(source, on_host(size, device), device)


def on_host(size: int, device: torch.device) -> torch.Tensor:
    """Pinned for a CUDA device, and written once, so that all pages are there."""
    return torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda").zero_()


def main() -> None:
    options = parser_of(__doc__).parse_args()
    device, sizes = select(options.device), sizes_for(options.device)
    prepare(device, environment.DEFAULTS)
    measurements = Measurements(device, options.without)
    measured: dict[str, Callable[[], dict[str, Any]]] = {
        "environment": lambda: environment.describe(device),
        "settings": lambda: settings(device),
        "copy within the device": lambda: within(sizes.copied_bytes, device),
        "copy to the device": lambda: from_host(sizes.pinned_bytes, device),
        "copy from the device": lambda: to_host(sizes.pinned_bytes, device),
    }
    if device.type == "cuda":
        measured |= {"properties": lambda: properties(device), "card": card}
    for what, measure in measured.items():

        def take(what: str = what, measure: Callable[[], dict[str, Any]] = measure) -> None:
            add_line(options.out / "hardware.jsonl", {"what": what, **measure()})

        measurements.take(what, take)
    measurements.exit()


def add_line(path: Path, content: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
