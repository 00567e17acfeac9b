"""The measurements of a card as Markdown tables, as docs/gpu.md shows them.

python benchmarks/gpu/tables.py DIR
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from paper_scale import TOTAL_STEPS, Measured, baseline_seconds, counts, measured_networks
from paper_scale import saved_percent as saved
from rows import StepRow, Table

Row = dict[str, str]
T0S = (0.5, 0.8)


def milliseconds(rows: Sequence[Row], wanted: Callable[[Row], bool]) -> str:
    """Of the first such row."""
    found = next((row["milliseconds"] for row in rows if wanted(row)), None)
    return "–" if found is None else f"{float(found):.2f}"


def step_table(rows: Sequence[Row], networks: Sequence[Measured]) -> list[list[str]]:
    """Milliseconds of a step: with nothing frozen in several ways, and with all but the head."""
    header = [
        *("network", "float32", "tf32", "bfloat16", "float32, eager"),
        *("float32, all but the head frozen", "the same from stored activations"),
    ]
    lines = [header]
    for measured in networks:
        here = [row for row in rows if row["network"] == measured.network]
        nested = [row for row in here if row["layout"] == "channels_last"]
        whole = [row for row in nested if row["frozen"] == "0"]
        graphs = [row for row in whole if row["mode"] == "graph"]
        last = [row for row in nested if row["frozen"] == str(int(row["units"]) - 1)]
        last = [row for row in last if row["mode"] == "graph"]
        lines.append(
            [
                measured.network,
                *(
                    milliseconds(graphs, lambda row, each=each: row["precision"] == each)
                    for each in ("float32", "tf32", "bfloat16")
                ),
                milliseconds(whole, lambda row: row["mode"] == "eager"),
                milliseconds(last, lambda row: row["start"] == "0"),
                milliseconds(last, lambda row: row["start"] != "0"),
            ]
        )
    return lines


def saved_table(networks: Sequence[Measured]) -> list[list[str]]:
    """Percent of time saved at the paper's scale; in brackets with stores that cost nothing."""
    settings = [(scaling, t0) for scaling in ("linear", "cubic") for t0 in T0S]
    lines = [["network", *(f"{scaling}, t0 = {t0}" for scaling, t0 in settings)]]
    for measured in networks:
        baseline = baseline_seconds(measured, TOTAL_STEPS)
        cells = []
        for scaling, t0 in settings:
            taken = counts(len(measured.steps), scaling, t0, TOTAL_STEPS)
            cell = f"{saved(measured.steps, measured.changes, taken, baseline):.1f}"
            if measured.stored and measured.stored_changes:
                most = saved(measured.stored, measured.stored_changes, taken, baseline)
                cell += f" ({most:.1f})"
            cells.append(cell)
        lines.append([measured.network, *cells])
    return lines


def markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *body = lines
    shown = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in shown)


def main() -> None:
    folder = Path(sys.argv[1])
    rows = Table(folder / "steps.csv", StepRow).rows()
    networks = measured_networks(rows)
    tables = step_table(rows, networks), saved_table(networks)
    print("\n\n".join(markdown(table) for table in tables))


if __name__ == "__main__":
    main()
