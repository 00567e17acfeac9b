"""Inputs of the active units: stored activations of frozen units, and the plan of what to store."""
