"""Fixtures of the tests of Slurm."""

from tests.sweep.slurm.stand_ins import slurm

__all__ = ["slurm"]
