"""Schedules, freezing of units and FreezeOut, for any training loop."""
