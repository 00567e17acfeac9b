"""An HTML page, read for tests."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

# Elements without an end.
VOID = {"meta", "br", "link", "img", "input", "base"}


@dataclass
class Element:
    """An element; `text` is that of its own and of what is inside it."""

    tag: str
    attributes: dict[str, str | None]
    inside: list["Element"] = field(default_factory=list)
    parts: list["str | Element"] = field(default_factory=list)

    @property
    def text(self) -> str:
        parts = (part if isinstance(part, str) else part.text for part in self.parts)
        return " ".join("".join(parts).split())

    def all(self, *tags: str) -> list["Element"]:
        """The elements inside it of these tags, or all, in the order of the page."""
        found = []
        for each in self.inside:
            found += [each] if not tags or each.tag in tags else []
            found += each.all(*tags)
        return found

    def one(self, tag: str) -> "Element":
        (found,) = self.all(tag)
        return found


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.declarations: list[str] = []
        self.open = [Element("document", {})]

    def handle_decl(self, decl: str) -> None:
        self.declarations.append(decl)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.add(tag, attrs)
        if tag in VOID:
            self.open.pop()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.add(tag, attrs)
        self.open.pop()

    def add(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        element = Element(tag, dict(attrs))
        self.open[-1].inside.append(element)
        self.open[-1].parts.append(element)
        self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> ends <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].parts.append(data)


def parsed(page: str) -> Element:
    """The document. Every element must be closed, and where it was opened."""
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.declarations == ["doctype html"]
    assert [each.tag for each in reader.open] == ["document"]
    return reader.open[0]
