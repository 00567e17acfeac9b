"""The code in the pages of the documentation."""

import re
import sys
from types import ModuleType

from docs.numbers.pages import ROOT


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def code_of(page: str) -> list[str]:
    """The Python of a page, block by block."""
    return re.findall(r"```python\n(.*?)```", text_of(page), re.DOTALL)


def examples_of(page: str, heading: str) -> str:
    """The Python under a heading that needs objects of the reader's, marked as no-run."""
    section = text_of(page).partition(f"# {heading}\n")[2].partition("\n#")[0]
    return "\n".join(re.findall(r"```python no-run\n(.*?)```", section, re.DOTALL))


def module_of(page: str, name: str, monkeypatch) -> ModuleType:
    """The only code of a page, as the module that the page says it is."""
    (code,) = code_of(page)
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)  # where pydantic looks names up
    exec(compile(code, page, "exec"), vars(module))
    return module
