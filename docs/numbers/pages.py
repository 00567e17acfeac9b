"""The pages of the documentation, and the places in them that are filled.

A number stands between `<!-- name -->` and `<!-- end -->`, a table between `<!-- name:start -->`
and `<!-- name:end -->`.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RESULTS = ROOT / "results"
PLACE = re.compile(
    r"<!-- (?P<table>[a-z0-9-]+):start -->\n(?P<rows>.*?)\n<!-- (?P=table):end -->"
    r"|<!-- (?P<number>[a-z0-9-]+) -->(?P<text>.*?)<!-- end -->",
    re.DOTALL,
)


def places_in(page: str) -> dict[str, str]:
    """What stands in the places of a page, by their names; line breaks in numbers as spaces."""
    return {
        match["table"] or match["number"]: match["rows"]
        if match["table"]
        else " ".join(match["text"].split())
        for match in PLACE.finditer(page)
    }


def filled(page: str, shown: dict[str, str]) -> str:
    """The page with this in its places; what is right already stays as it is, with its breaks."""

    def fill(match: re.Match[str]) -> str:
        name = match["table"] or match["number"]
        if name not in shown or places_in(match[0])[name] == shown[name]:
            return match[0]
        if match["table"]:
            return f"<!-- {name}:start -->\n{shown[name]}\n<!-- {name}:end -->"
        return f"<!-- {name} -->{shown[name]}<!-- end -->"

    return PLACE.sub(fill, page)
