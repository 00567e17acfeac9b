"""For tests that import the scripts that measure on a GPU."""

import sys
from collections.abc import Iterator

import pytest

from tests.benchmarks.gpu_scripts import FOLDER


@pytest.fixture
def gpu_scripts(monkeypatch) -> Iterator[None]:
    """They import each other by name."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(FOLDER)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(FOLDER)):
            del sys.modules[name]
