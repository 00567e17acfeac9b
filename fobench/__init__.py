"""fobench shows whether freezing layers while training pays off."""

__version__ = "0.1.0"
