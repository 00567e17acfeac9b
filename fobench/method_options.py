"""What each method may be told in a config's [[method]] tables. No torch."""

import re
from dataclasses import dataclass

from fobench.options import option, rule, show
from fobench.schedule import SCALINGS

# Above it a rate divided by a freeze time is a number that float32 has.
LEAST_FREEZE_TIME = 1e-9


@dataclass(frozen=True)
class BaselineOptions:
    """[[method]] name = "baseline": plain cosine annealing; a share below 1 is a shorter one.

    A constant rate is the control of the published code's VGG, which never anneals.
    """

    epoch_share: float = option(1.0, above=0, at_most=1)
    annealing: str = option("cosine", one_of=("cosine", "constant"))

    match_time = False
    precompute = False
    views = None

    def slug(self) -> str:
        constant = "" if self.annealing == "cosine" else "-constant"
        return f"baseline{constant}{share_slug(self.epoch_share)}"


@rule("t0", "scaling")
def first_unit_trains(t0: float, scaling: str) -> str | None:
    if SCALINGS[scaling](t0) >= LEAST_FREEZE_TIME:
        return None
    return f"t0 = {t0}: the first unit would freeze at once; raise it"


SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)")


def size_in_bytes(size: str) -> int | None:
    """ "1.5GB" in bytes; None for what is no size."""
    found = SIZE.fullmatch(size)
    if found is None:
        return None
    number, unit = found.groups()
    base = 1024 if "i" in unit else 1000
    return int(float(number) * base ** "BKMGT".index(unit[0]))


@rule("budget")
def budget_is_a_size(budget: str) -> str | None:
    if budget == "auto" or size_in_bytes(budget):
        return None
    return f'budget = {show(budget)}: give "auto" or a size above 0, such as "4GB" or "512MiB"'


@rule("plan")
def plan_goes_on(plan: tuple[tuple[int, int], ...] | None) -> str | None:
    epochs = [epoch for epoch, _ in plan or ()]
    if sorted(set(epochs)) == epochs:
        return None
    return f"plan = {show([list(each) for each in plan])}: give [epoch, cut] in order of the epochs"


@rule("precompute", "store", "budget", "plan")
def storing_is_asked_for(
    precompute: bool, store: str, budget: str, plan: tuple[tuple[int, int], ...] | None
) -> str | None:
    given = {"store": store != "float16", "budget": budget != "auto", "plan": plan is not None}
    if precompute or not any(given.values()):
        return None
    name = next(name for name, differs in given.items() if differs)
    return f"{name}: nothing is stored without precompute = true; give it a table of its own"


@dataclass(frozen=True)
class FreezeOutOptions:
    """[[method]] name = "freezeout": see `fobench.freezeout.FreezeOut`.

    With `match_time` it trains the further steps that its saving by FLOPs pays for. `compat =
    "reference"` counts steps as the published code does; see `fobench.methods`.

    From the first epoch that starts with a frozen unit on, images come in `views` fixed
    augmentations by turns. With `precompute` the activations of frozen units are stored as `store`,
    within `budget`, by a plan that is made for the machine, or by `plan`, whose [epoch, cut] say
    before which epoch, counted from 1, the activations behind how many units are stored; see
    `fobench.precompute`.
    """

    scaling: str = option("cubic", one_of=tuple(SCALINGS))
    scale_lr: bool = option(True)
    t0: float = option(0.8, above=0, at_most=1)
    epoch_share: float = option(1.0, above=0, at_most=1)
    match_time: bool = option(False)
    compat: str = option("none", one_of=("none", "reference"))
    views: int | None = option(None, at_least=1, at_most=1000)
    precompute: bool = option(False)
    store: str = option("float16", one_of=("float16", "bfloat16", "float32"))
    budget: str = option("auto")
    plan: tuple[tuple[int, int], ...] | None = option(None, at_least=1)

    rules = (first_unit_trains, budget_is_a_size, plan_goes_on, storing_is_asked_for)

    def slug(self) -> str:
        scaled = "scaled" if self.scale_lr else "unscaled"
        notes = share_slug(self.epoch_share) + "-matched" * self.match_time
        notes += "" if self.compat == "none" else f"-{self.compat}"
        notes += f"-views{self.views}" if self.views else ""
        notes += f"-precompute-{self.store}" if self.precompute else ""
        return f"freezeout-{self.scaling}-{scaled}-t{self.t0:.2f}{notes}"


def share_slug(epoch_share: float) -> str:
    return "" if epoch_share == 1 else f"-share{epoch_share:.2f}"


MethodOptions = BaselineOptions | FreezeOutOptions
METHODS: dict[str, type[MethodOptions]] = {
    "baseline": BaselineOptions,
    "freezeout": FreezeOutOptions,
}
