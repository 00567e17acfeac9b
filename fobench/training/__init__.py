"""The training loop, warm-up, checkpoints, one run carried out."""
