"""Figures drawn from the files of finished runs and written. No torch."""

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from fobench.errors import UserError
from fobench.figures.curves import curves
from fobench.figures.pareto import pareto
from fobench.figures.rates import schedule
from fobench.figures.speedup_error import speedup_error
from fobench.figures.time_spent import time
from fobench.files import make_folder, write_bytes
from fobench.panel import Panel

SUFFIXES = (".png", ".svg", ".pdf")
KINDS: dict[str, Callable[[Sequence[Panel]], Figure]] = {
    "speedup-error": speedup_error,
    "curves": curves,
    "schedule": schedule,
    "time": time,
    "pareto": pareto,
}


def draw(panels: Sequence[Panel], kind: str, path: Path) -> None:
    """Draw the figure of that kind.

    Raises UserError for a file of an unknown kind, or one that cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: give a file that ends in {', '.join(SUFFIXES)}")
    drawn = render(panels, kind, suffix)
    make_folder(path.parent)
    write_bytes(path, drawn)


def render(panels: Sequence[Panel], kind: str, suffix: str) -> bytes:
    """The figure as a file's content. Raises UserError for results that do not do for it."""
    # Without dates and random ids the same results give the same file.
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix)
    drawn = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "fobench"}):
        KINDS[kind](panels).savefig(drawn, format=suffix[1:], dpi=160, metadata=metadata)
    return drawn.getvalue()
