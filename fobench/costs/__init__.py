"""Costs of units and runs, in FLOPs and seconds, and the saving they predict."""
