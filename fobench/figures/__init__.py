"""The figures, one file each. Matplotlib is imported only when one is drawn.

To add one: write a module with a function `draw(panels) -> Figure` and add it to FIGURES.
"""

# The module of each kind of figure.
FIGURES = {
    "speedup-error": "speedup_error",
    "curves": "curves",
    "schedule": "schedule",
    "time": "time_spent",
    "pareto": "pareto",
}
SUFFIXES = (".png", ".svg", ".pdf")
