"""Figures as SVG within an HTML page, beside other figures and without any address."""

import re
from collections.abc import Mapping
from xml.etree import ElementTree

LONG = re.compile(r"(-?\d+\.\d\d)\d+")
URL = re.compile(r"url\(#([^)]+)\)")  # of a clip path, or a hatching in a style
FAMILY = re.compile(r"font-family: [^;]*(; |$)")  # at each text
FONTS = "'DejaVu Sans', Verdana, Arial, sans-serif"  # the first is that of the figures' layout
UPRIGHT = re.compile(r"rotate\(-?0( \S+)*\)")
DRAWN_IN_POINTS = ("d", "x", "y")


def inline_svg(drawn: bytes, prefix: str, label: str) -> str:
    """An SVG file of matplotlib as an element of a page.

    Only the ids that are referred to stay, as numbers behind the prefix, so that those of several
    figures differ. Texts are in a font that the root names. Comments, metadata and namespaces go:
    they hold addresses, which a page does not need.
    `label` is what a screen reader says.
    """
    svg = ElementTree.fromstring(drawn)  # drops comments, prolog and doctype
    for parent in svg.iter():
        for child in list(parent):
            if local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    elements = list(svg.iter())
    used = dict.fromkeys(name for each in elements for name in references(each))
    ids = {name: f"{prefix}-{number}" for number, name in enumerate(used)}
    for each in elements:
        each.tag = local(each.tag)
        each.attrib = {local(key): text for key, text in each.attrib.items()}
        each.text = (each.text or "").strip()
        each.tail = "\n" if each.tag == "g" else None
        tidy(each, ids)
    width = svg.attrib.pop("width").removesuffix("pt")
    svg.attrib.pop("height", None)
    # What matplotlib's style sheet says of all elements; a style sheet would hold for the page.
    lines = "stroke-linejoin: round; stroke-linecap: butt"
    svg.attrib |= {"style": f"{lines}; font-family: {FONTS}; --width: {width}"}
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


def tidy(element: ElementTree.Element, ids: Mapping[str, str]) -> None:
    """Rename ids and references, and give lengths two decimals."""
    if element.attrib.get("id") not in ids:
        element.attrib.pop("id", None)
    for key, text in element.attrib.items():
        if key == "id":
            element.attrib[key] = ids[text]
        elif key == "href" and text.startswith("#"):
            element.attrib[key] = f"#{ids[text[1:]]}"
        elif key in DRAWN_IN_POINTS:
            element.attrib[key] = LONG.sub(r"\1", " ".join(text.split()))
        else:
            text = URL.sub(lambda found: f"url(#{ids[found[1]]})", text)
            element.attrib[key] = FAMILY.sub("", text)
    if UPRIGHT.fullmatch(element.attrib.get("transform", "")):
        del element.attrib["transform"]
