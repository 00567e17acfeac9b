"""The report of experiments. No torch, no matplotlib."""
