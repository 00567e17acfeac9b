"""The figures, a file each. Matplotlib is imported only when one is drawn.

To add one: a module with a function `draw(panels) -> Figure`, and its line in FIGURES.
"""

# The module of each kind of figure.
FIGURES = {
    "speedup-error": "speedup_error",
    "curves": "curves",
    "schedule": "rates",
    "time": "time_spent",
    "pareto": "pareto",
}
SUFFIXES = (".png", ".svg", ".pdf")
