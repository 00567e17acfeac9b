"""An example of each network family, as small as it can be with all its parts."""

EXAMPLES: dict[str, dict] = {
    "densenet": {"depth": 10, "growth_rate": 4},
    "wideresnet": {"depth": 10, "width": 1, "dropout": 0.2},
    "vgg": {"width": 0.05},
}
