"""Configs, experiments and their runs. No torch."""
