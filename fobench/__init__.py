"""fobench shows whether freezing layers while training pays off."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fobench.cutting.cut import cut_network
    from fobench.freezing.freezeout import FreezeOut

__version__ = "0.2.0"
__all__ = ["FreezeOut", "__version__", "cut_network"]


def __getattr__(name: str) -> Any:
    # Imported on first use: importing torch takes seconds, which `fobench --help` must not.
    if name == "FreezeOut":
        from fobench.freezing.freezeout import FreezeOut

        return FreezeOut
    if name == "cut_network":
        from fobench.cutting.cut import cut_network

        return cut_network
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
