"""Predicted seconds beside measured ones."""

from statistics import median
from typing import Any

from docs.numbers.benchmarks import measured
from docs.numbers.words import markdown

HEADER = ("network", "method", "predicted, s", "measured, s", "difference, %",
          "time saved, %", "by profile, %", "by FLOPs, %", "paper's estimate, %")  # fmt: skip


def shown() -> dict[str, str]:
    off = how_far_off()
    drifts = [each["first_epochs_percent"] for each in measured("predictions")]
    return {
        "predictions": predictions(),
        **{f"off-{name}": f"{median(sizes):.1f} {unit}" for name, (sizes, unit) in off.items()},
        **{f"worst-{name}": f"{max(sizes):.1f} {unit}" for name, (sizes, unit) in off.items()},
        "predicted-drift": ", ".join(f"{each:.1f}" for each in drifts),
    }


def predictions() -> str:
    rows = [
        (
            *(row["network"], row["method"]),
            *(f"{row[f'{kind}_seconds']:.1f}" for kind in ("predicted", "measured")),
            f"{row['difference_percent']:+.1f}",
            *(f"{row[f'saved_{way}']:.1f}" for way in ("measured", "by_profile", "by_flops")),
            f"{row['saved_by_paper']:.1f}",
        )
        for row in predicted_runs()
    ]
    return markdown(HEADER, rows)


def predicted_runs() -> list[dict[str, Any]]:
    return [row for each in measured("predictions") for row in each["runs"]]


def how_far_off() -> dict[str, tuple[list[float], str]]:
    """Sizes of differences, and their unit, by what is compared."""
    rows = predicted_runs()
    stored = [row for row in rows if "stored" in row["method"]]
    plain = [row for row in rows if row not in stored]

    def points(of: list[dict[str, Any]], way: str) -> list[float]:
        return [abs(row[f"saved_{way}"] - row["saved_measured"]) for row in of]

    return {
        "seconds": ([abs(row["difference_percent"]) for row in plain], "%"),
        "seconds-stores": ([abs(row["difference_percent"]) for row in stored], "%"),
        "saved": (points(rows, "by_profile"), "points"),
        "flops": (points(plain, "by_flops"), "points"),
    }
