"""The methods, one file each. Torch is imported only when one starts.

To add one: write its file and add it to METHODS. See docs/adding-a-method.md.
"""

from fobench.methods.base import MethodOptions
from fobench.methods.baseline import BaselineOptions
from fobench.methods.ensemble import EnsembleOptions
from fobench.methods.freezeout import FreezeOutOptions
from fobench.methods.snapshot import SnapshotOptions

METHODS: dict[str, type[MethodOptions]] = {
    "baseline": BaselineOptions,
    "freezeout": FreezeOutOptions,
    "snapshot": SnapshotOptions,
    "ensemble": EnsembleOptions,
}
