"""Figures drawn from results and written to files."""

from collections.abc import Sequence
from importlib import import_module
from io import BytesIO
from pathlib import Path

from fobench.errors import UserError
from fobench.evidence.results import ExperimentResults
from fobench.figures import FIGURES, SUFFIXES
from fobench.figures.settings import default_settings
from fobench.records.files import make_folder, write_bytes


def draw(panels: Sequence[ExperimentResults], kind: str, path: Path) -> None:
    """Draw a figure of that kind, one panel per experiment.

    Raises UserError for a file of an unknown kind, or one that cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: give a file that ends in {', '.join(SUFFIXES)}")
    drawn = render(panels, kind, suffix)
    make_folder(path.parent)
    write_bytes(path, drawn)


def render(
    panels: Sequence[ExperimentResults], kind: str, suffix: str, outlines: bool = True
) -> bytes:
    """The figure as bytes of a file. Raises UserError if the results do not suffice for it.

    An SVG shows its texts as `outlines`, the same everywhere, or in a font of who looks at it.
    """
    # Without dates the same results give the same file.
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix)
    drawn = BytesIO()
    with default_settings({"svg.fonttype": "path" if outlines else "none"}):
        figure = import_module(f"fobench.figures.{FIGURES[kind]}").draw(panels)
        figure.savefig(drawn, format=suffix[1:], dpi=160, metadata=metadata)
    return drawn.getvalue()
