"""The machine: device, memory, clock, random seeds, environment, locks, signals."""
