"""Which network families there are and which options each takes. No torch.

To add one: write its options here, name it in FAMILIES, and give `fobench/models/<name>.py` a
function `build(num_classes, in_channels, **options)` that returns an `nn.Sequential` of units.
"""

from dataclasses import dataclass

from fobench.options import option


@dataclass(frozen=True)
class DenseNetOptions:
    """DenseNet-BC: three dense blocks of (depth - 4) / 6 layers, each a unit."""

    depth: int = option(at_least=10, at_most=1000)
    growth_rate: int = option(at_least=1, at_most=1000)
    reduction: float = option(0.5, above=0, at_most=1)

    def problems(self) -> list[str]:
        if self.depth % 6 == 4:
            return []
        lower = (self.depth - 4) // 6 * 6 + 4
        return [f"depth = {self.depth}: give 6·n + 4, such as {lower} or {lower + 6}"]

    def slug(self) -> str:
        return f"densenet-{self.depth}-{self.growth_rate}"

    def title(self) -> str:
        return f"DenseNet-BC {self.depth}-{self.growth_rate}"


ModelOptions = DenseNetOptions
FAMILIES: dict[str, type[ModelOptions]] = {"densenet": DenseNetOptions}
