"""The training loop, warm-up, checkpoints, and the execution of a run."""
