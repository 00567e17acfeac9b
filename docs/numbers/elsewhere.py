"""Networks from elsewhere."""

import pandas as pd

from docs.numbers.words import experiment, methods_of, numeral, span
from fobench.evidence import store_savings

EXPERIMENTS = ("cpu-resnet18", "cpu-vit", "cpu-convnext")


def shown() -> dict[str, str]:
    panels = [experiment(name) for name in EXPERIMENTS]
    methods = pd.concat([found.summary for found in panels], ignore_index=True)
    alone = methods[
        [
            method.name == "freezeout" and not method.stores.precompute
            for method in methods["method"]
        ]
    ]
    whole = methods[[method.is_whole_baseline for method in methods["method"]]]
    on_line = alone[alone["fewer_steps"].notna()]
    decided = on_line[(on_line["fewer_steps_low"] > 0) | (on_line["fewer_steps_high"] < 0)]
    stores = pd.concat([store_savings.summary(found) for found in panels])
    return {
        "elsewhere": methods_of(EXPERIMENTS),
        "elsewhere-saved": span(alone["saved"], ".0f"),
        "elsewhere-missed": f"{(alone['saved'] - alone['profile_saved']).abs().max():.1f}",
        "elsewhere-points": span(alone["points"], ".1f"),
        "elsewhere-settings": numeral(len(alone)),
        "elsewhere-on-line": numeral(len(on_line)),
        "elsewhere-below": numeral((on_line["fewer_steps"] < 0).sum()),
        "elsewhere-above": span(on_line["fewer_steps"], "+.1f"),
        "elsewhere-decided": numeral(len(decided)),
        "elsewhere-stored": span(stores["by_store"], "+.1f"),
        "elsewhere-store-points": f"{stores['points'].abs().max():.2f}",
        "elsewhere-baselines": span(whole["error"], ".0f"),
    }
