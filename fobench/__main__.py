"""`python -m fobench`, as launchers of processes such as torchrun start it."""

from fobench.cli import main

main(prog_name="fobench")
