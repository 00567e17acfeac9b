"""Which runs, in what order, where."""
