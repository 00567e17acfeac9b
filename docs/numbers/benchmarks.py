"""What the scripts in benchmarks/ measured."""

import json
from typing import Any

from benchmarks.bytes_per_step import read_rows, table
from docs.numbers.pages import ROOT
from docs.numbers.words import markdown


def shown() -> dict[str, str]:
    steps = measured("step_overhead")
    took = [each["overhead_milliseconds"] for each in steps]
    (whole,) = (each for each in steps if "_baseline_" in each["run"])
    checkpoints = sorted(each["percent_of_training"] for each in measured("checkpoint_cost"))
    return {
        "bytes": table(read_rows()),
        "overhead": f"{min(took):.1f} to {max(took):.1f}",
        "overhead-whole": f"{whole['overhead_percent']:.1f}",
        "overhead-most": f"{max(each['overhead_percent'] for each in steps):.1f}",
        "checkpoint": f"{checkpoints[0]:.2f} to {checkpoints[-1]:.2f}",
        "soak": kills(),
        "equal-steps": equal_steps(),
        "jobs": jobs(),
    }


def content_of(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / f"{name}.json").read_text())


def measured(name: str) -> list[dict[str, Any]]:
    return content_of(name)["measured"]


def kills() -> str:
    soak = content_of("soak")
    return (
        f"{soak['kills']:,} kills with SIGKILL at random moments, {soak['resumes']:,} resumes, "
        f"{soak['resumed_with_store']} of them of a run that had built a store, "
        f"{len(soak['differences'])} differences"
    )


def equal_steps() -> str:
    header = ("network", "step of the baseline, ms", "FreezeOut without freezing, %")
    rows = []
    for each in measured("equal_steps"):
        ratio, low, high = each["ratio_percent"]
        shown = f"{ratio:+.1f} ({low:+.1f} to {high:+.1f})"
        rows.append((each["network"], f"{each['step_milliseconds']:.1f}", shown))
    return markdown(header, rows)


def jobs() -> str:
    header = ("network", "one run, images/s", "two at once, images/s", "ratio")
    rows = []
    for each in measured("jobs"):
        alone, together = (
            sum(each["images_per_second"][way]) / each["repetitions"]
            for way in ("alone", "together")
        )
        ratio, low, high = each["ratio"]
        shown = f"{ratio:.2f} ({low:.2f} to {high:.2f})"
        rows.append((each["network"], f"{alone:.0f}", f"{together:.0f}", shown))
    return markdown(header, rows)
