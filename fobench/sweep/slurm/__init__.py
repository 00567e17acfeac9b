"""Sweeps as job arrays of Slurm: submitted, and trained within their jobs.

Slurm's own commands are used as a user would: they are the interface that sites keep working.
"""
