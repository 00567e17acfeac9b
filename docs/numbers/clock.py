"""The noise of the clock on two cores: a run that was trained four times."""

from docs.numbers.words import experiment
from fobench.evidence import clock_noise


def shown() -> dict[str, str]:
    noise = clock_noise.noise_of_repeats(experiment("cpu-noise").table)
    return {"noise": f"{noise.percent:.1f} % ({noise.degrees + 1:.0f} runs)"}
