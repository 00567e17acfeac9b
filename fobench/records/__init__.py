"""The files of runs and experiments: read, written, checked."""
