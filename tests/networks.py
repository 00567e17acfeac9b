"""An example of each network family, as small as it can be with all its parts."""

import pytest

EXAMPLES: dict[str, dict] = {
    "densenet": {"depth": 10, "growth_rate": 4},
    "wideresnet": {"depth": 10, "width": 1, "dropout": 0.2},
    "vgg": {"width": 0.05},
}
# For tests of each family: `make test` tries the one with dropout, `make test-all` the others, too.
EACH = [
    pytest.param(name, marks=() if name == "wideresnet" else pytest.mark.slow) for name in EXAMPLES
]
