"""Sweeps: which runs are trained, in what order, on which machine."""
