"""Statistics of results: pairs, intervals, noise. No torch."""
