"""The methods, one file each. Torch is imported only when one starts.

To add one: write its file and add it to METHODS. See docs/adding-a-method.md.
"""

from fobench.methods.base import MethodOptions
from fobench.methods.baseline import BaselineOptions
from fobench.methods.freezeout import FreezeOutOptions

METHODS: dict[str, type[MethodOptions]] = {
    "baseline": BaselineOptions,
    "freezeout": FreezeOutOptions,
}
