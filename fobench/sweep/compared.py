"""Networks that were found equal to their units, kept beside the results as profiles are.

`results/<experiment>/units-<hash>.json` spares the next command that comparison, which takes as
long as some training steps, until the code or the network changes that was compared. The network is
built and cut each time: what makes it may lie outside its file. `fobench units` compares anew.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import fobench
from fobench.errors import UserError
from fobench.experiment.run import DataUsed
from fobench.models import NetworkOptions
from fobench.models.base import Comparison
from fobench.models.elsewhere import version_of
from fobench.records.files import RESTORE, exists, make_folder, read_json, write_json

FORMAT = 1
PACKAGES = ("torch", "torchvision", "timm")
# Of fobench: what makes networks, and what cuts and compares them.
CODE = ("cutting", "models")


def compare_once(model: NetworkOptions, used: DataUsed, folder: Path) -> None:
    """Compare a network with its units, unless the experiment's folder says that they are equal.

    Raises UserError if it cannot be built for these images, or cut, or differs from its units.
    """
    network = json.dumps([model.identity(), used.classes, used.image_shape], sort_keys=True)
    path = folder / f"units-{hashlib.sha256(network.encode()).hexdigest()[:8]}.json"
    made_by = {"format": FORMAT, "for": json.loads(network), **code()}
    kept = read_comparison(path, made_by) if exists(path) else None
    if kept is not None and kept.network_sha256 == network_digest(model, used):
        kept.comparison.log(model.name, f" ({path.name})")
        return
    found = model.require_buildable(used.classes, used.image_shape)
    if found is not None:
        made_by["network_sha256"] = network_digest(model, used)
        make_folder(folder)
        write_json(path, made_by | {"units": list(found.units), "notes": list(found.notes)})


def compare_anew(model: NetworkOptions, used: DataUsed, folder: Path) -> None:
    """Compare a network with its units, whatever the folder says. Raises like `compare_once`."""
    model.require_buildable(used.classes, used.image_shape)


def compare_not(model: NetworkOptions, used: DataUsed, folder: Path) -> None:
    """Leave a network unbuilt, to list its runs at once."""


@dataclass(frozen=True)
class KeptComparison:
    """A comparison, and the digest of the network that was compared."""

    comparison: Comparison
    network_sha256: object


def network_digest(model: NetworkOptions, used: DataUsed) -> str:
    """That of a network's units, and of the names, shapes and types of its weights.

    Raises UserError if it cannot be built for these images, or cut.
    """
    # Torch builds it.
    from fobench.costs.unit_costs import network_on_meta

    network = network_on_meta(model, used.classes, used.image_shape)
    units = [name for name, _ in network.named_children()]
    weights = [
        (name, list(each.shape), str(each.dtype))
        for name, each in (*network.named_parameters(), *network.named_buffers())
    ]
    return hashlib.sha256(json.dumps([units, weights]).encode()).hexdigest()[:16]


def code() -> dict[str, Any]:
    """What the outcome depends on beside the network and its images."""
    versions = {name: found for name in PACKAGES if (found := version_of(name))}
    return {"versions": versions, "fobench_sha256": fobench_digest()}


@cache
def fobench_digest() -> str:
    """That of the code that cuts networks, which a version number does not tell in a checkout."""
    package, sha256 = Path(fobench.__file__).parent, hashlib.sha256()
    for file in sorted(file for name in CODE for file in (package / name).rglob("*.py")):
        sha256.update(file.read_bytes())
    return sha256.hexdigest()[:16]


def read_comparison(path: Path, made_by: dict[str, Any]) -> KeptComparison | None:
    """A kept comparison; None if it is of other code. Raises UserError for one that is invalid."""
    content = read_json(path)
    if any(content.get(key) != value for key, value in made_by.items()):
        return None
    texts = content.get("units"), content.get("notes")
    if not all(isinstance(each, list) for each in texts):
        raise UserError(f"{path} does not hold a valid comparison: {RESTORE}")
    comparison = Comparison(*(tuple(map(str, each)) for each in texts))
    return KeptComparison(comparison, content.get("network_sha256"))
