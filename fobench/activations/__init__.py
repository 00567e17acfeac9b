"""Inputs of the active units: stores of frozen activations, and the plan of what to store when."""
