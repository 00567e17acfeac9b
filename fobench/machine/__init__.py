"""The machine: device, memory, clock, random seeds, environment, locks, signals."""

import os

# cuBLAS reads it when it starts, and repeats bit for bit only with a workspace of fixed size.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
