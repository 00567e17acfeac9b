"""Figures as SVG within an HTML page, beside other figures and without any address."""

import re
from xml.etree import ElementTree

LONG = re.compile(r"(-?\d+\.\d\d)\d+")
URL = re.compile(r"url\(#([^)]+)\)")  # of a clip path, or a hatching in a style
DRAWN_IN_POINTS = ("d", "x", "y")


def inline_svg(drawn: bytes, prefix: str, label: str) -> str:
    """An SVG file of matplotlib as an element of a page.

    Only the ids that are referred to stay, with the prefix, so that those of several figures
    differ. Comments, metadata and namespaces go: they hold addresses, which a page does not need.
    `label` is what a screen reader says.
    """
    svg = ElementTree.fromstring(drawn)  # drops comments, prolog and doctype
    for parent in svg.iter():
        for child in list(parent):
            if local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    elements = list(svg.iter())
    used = {name for each in elements for name in references(each)}
    for each in elements:
        each.tag = local(each.tag)
        each.attrib = {local(key): text for key, text in each.attrib.items()}
        each.text = (each.text or "").strip()
        each.tail = "\n" if each.tag == "g" else None
        tidy(each, prefix, used)
    width = svg.attrib.pop("width").removesuffix("pt")
    svg.attrib.pop("height", None)
    # What matplotlib's style sheet says of all elements; a style sheet would hold for the page.
    svg.attrib |= {"style": f"stroke-linejoin: round; stroke-linecap: butt; --width: {width}"}
    svg.attrib |= {"role": "img", "aria-label": label}
    return ElementTree.tostring(svg, encoding="unicode")


def local(name: str) -> str:
    """A name without its namespace."""
    return name.rpartition("}")[2]


def references(element: ElementTree.Element) -> list[str]:
    """The ids that an element refers to."""
    found = [name for text in element.attrib.values() for name in URL.findall(text)]
    href = next((text for key, text in element.attrib.items() if local(key) == "href"), "")
    return [*found, href[1:]] if href.startswith("#") else found


def tidy(element: ElementTree.Element, prefix: str, used: set[str]) -> None:
    """Give ids and references the prefix, and lengths two decimals of a point."""
    if element.attrib.get("id") not in used:
        element.attrib.pop("id", None)
    for key, text in element.attrib.items():
        if key == "id":
            element.attrib[key] = f"{prefix}-{text}"
        elif key == "href" and text.startswith("#"):
            element.attrib[key] = f"#{prefix}-{text[1:]}"
        elif key in DRAWN_IN_POINTS:
            element.attrib[key] = LONG.sub(r"\1", " ".join(text.split()))
        else:
            element.attrib[key] = URL.sub(rf"url(#{prefix}-\1)", text)
