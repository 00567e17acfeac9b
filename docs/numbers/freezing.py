"""Freezing and training for fewer steps: the experiment of ten epochs."""

from docs.numbers.words import experiment, methods_of, numeral, span
from fobench.evidence import clock_noise

EXPERIMENT = "cpu-densenet"


def shown() -> dict[str, str]:
    summary = experiment(EXPERIMENT).summary
    frozen = summary[[method.name == "freezeout" for method in summary["method"]]]
    on_line = frozen[~frozen["fewer_steps_beyond"]]
    above = on_line["fewer_steps"]
    decided = on_line[(on_line["fewer_steps_low"] > 0) | (on_line["fewer_steps_high"] < 0)]
    noise = clock_noise.noise_of_repeats(experiment("cpu-noise").table)
    return {
        "results": methods_of([EXPERIMENT]),
        "saved": span(frozen["saved"], ".0f"),
        "points": span(frozen["points"], ".1f"),
        "on-line": numeral(len(on_line)),
        "below": numeral((above < 0).sum()),
        "below-by": f"{-above.min():.1f}",
        "above-by": f"{above.max():.1f}",
        "decided": numeral(len(decided)),
        "beyond-flops": span(frozen["saved"] - frozen["flops_saved"], ".0f"),
        "noise": f"{noise.percent:.1f} % ({noise.degrees + 1} runs)",
    }
