"""The figures, a module each; `fobench.plot` knows them by name."""
