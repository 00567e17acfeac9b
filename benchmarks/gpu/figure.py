"""The time that FreezeOut saves at the paper's scale, from measured step times, as a figure.

    python benchmarks/gpu/figure.py DIR -o FILE.svg

Reads DIR/steps.csv, as steps.py writes it; paper_scale.py says how it computes the rest.
"""

import argparse
import sys
from pathlib import Path

from paper_scale import measured_networks
from rows import StepRow, Table

from fobench.errors import UserError
from fobench.figures import SUFFIXES
from fobench.figures.settings import default_settings, import_without_user_settings


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    if options.output.suffix not in SUFFIXES:
        parser.error(f"{options.output}: give a file that ends in {', '.join(SUFFIXES)}")
    rows = Table(options.folder / "steps.csv", StepRow).rows()
    panels = measured_networks(rows)
    if not panels:
        parser.error(f"{options.folder / 'steps.csv'} has no network that was timed at every depth")
    import_without_user_settings()
    from drawing import draw

    # Without dates the same results give the same file.
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(options.output.suffix)
    with default_settings():
        draw(panels).savefig(options.output, dpi=160, metadata=metadata)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"Error: {error}")
