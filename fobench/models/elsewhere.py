"""Networks from torchvision, timm or a user's file, cut into units."""

from __future__ import annotations

import json
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PrivateAttr, field_validator

from fobench.machine.home import expand_user
from fobench.models.base import Comparison, NetworkOptions
from fobench.models.file_content import digest_of, require_file, require_unchanged
from fobench.validation import format_value

if TYPE_CHECKING:
    from torch import nn

    from fobench.cutting.cut_network import CutNetwork

SHOWN = 60  # characters of options in a title
HOW = {"auto", "children"}
# What downloads weights, whose content no run id would know.
DOWNLOADS = ("pretrained", "weights", "weights_backbone", "checkpoint_path")


def as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Units = Annotated[str | tuple[str, ...], BeforeValidator(as_tuple)]


def version_of(package: str) -> str | None:
    """The version of an installed package; None if it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


class ElsewhereOptions(NetworkOptions):
    """A network that its constructor makes; what it is cut into is found, or given."""

    smallest_image: ClassVar[int] = 1
    package: ClassVar[str | None] = None  # on whose version the network depends

    name: str = Field(description="where the network comes from")
    options: dict[str, Any] = Field(
        {}, description="options of the constructor; the number of classes is given to it"
    )
    weights: str | None = Field(
        None, description="a file of weights to start from: .safetensors, or saved by torch.save"
    )
    units: Units = Field(
        "auto",
        description='"auto": found; "children": the network\'s children; or the paths of modules '
        'to cut behind, such as ["layer1", "layer2.0"]',
    )
    stem_stride: int | None = Field(
        None, ge=1, le=16, description="stride of the first unit's layers; 1 for small images"
    )

    _digests: dict[str, str] = PrivateAttr({})

    def __hash__(self) -> int:
        return hash(json.dumps(self.described(), sort_keys=True))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.described() == other.described()

    @field_validator("options")
    @classmethod
    def _identify_the_network(cls, options: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(options, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                "options: give finite numbers, strings, true, false, and lists and tables of them"
            ) from error
        # A list is something else of a network of the user's own, such as weights of its classes.
        downloads = [
            name for name in DOWNLOADS if options.get(name) and not isinstance(options[name], list)
        ]
        if downloads:
            raise ValueError(
                f"options: {downloads[0]} would download weights that no run id knows: save them "
                'to a file with torch.save(network.state_dict(), "file.pt"), and give weights = '
                '"file.pt"'
            )
        return options

    @field_validator("weights")
    @classmethod
    def _weights_are_there(cls, weights: str | None) -> str | None:
        if weights is not None:
            require_file("weights", weights)
        return weights

    @field_validator("units")
    @classmethod
    def _units_are_known(cls, units: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(units, str) and units not in HOW:
            raise ValueError(
                f'units = {format_value(units)}: give "auto", "children" or a list of modules, '
                'such as ["layer1", "layer2.0"]'
            )
        if not units or any(not each for each in units):
            raise ValueError('units: give the modules to cut behind, or "auto"')
        if isinstance(units, tuple) and len(set(units)) < len(units):
            twice = next(each for each in units if units.count(each) > 1)
            raise ValueError(f"units: {twice} is given twice: give each module once")
        return units

    def model_post_init(self, _: Any) -> None:
        if self.weights is not None:
            self._digests["weights_sha256"] = digest_of(expand_user(self.weights))

    def as_dict(self) -> dict[str, Any]:
        units = self.units if isinstance(self.units, str) else list(self.units)
        return super().as_dict() | {"units": units}

    def described(self) -> dict[str, Any]:
        return super().described() | self._digests | self._version()

    def identity(self) -> list[Any]:
        # The content of files identifies a run, not where they lie.
        rest = {
            key: value
            for key, value in self.non_defaults().items()
            if key not in ("name", "weights")
        }
        return [self.short_name(), rest | self._digests | self._version()]

    def _version(self) -> dict[str, str]:
        if self.package is None:
            return {}
        found = version_of(self.package)
        # Without the part that tells builds for CPUs and GPUs apart.
        return {} if found is None else {self.package: found.partition("+")[0]}

    def short_name(self) -> str:
        """The name without folders."""
        return self.name

    def slug(self) -> str:
        name = self.name.rpartition(":")[2]
        return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-_")[:60] or "network"

    def title(self) -> str:
        source, _, name = self.short_name().rpartition(":")
        parts = [f"{key} = {format_value(value)}" for key, value in self.options.items()]
        if self.stem_stride:
            parts.append(f"stem_stride = {self.stem_stride}")
        if self.weights:
            parts.append(f"weights = {Path(self.weights).name}")
        text = ", ".join(parts)
        if len(text) > SHOWN:
            text = f"{text[: SHOWN - 1]}…"
        return f"{name} ({source}{f'; {text}' if text else ''})"

    def constructor(self) -> Any:
        """What makes the network, given the options. Raises UserError if it cannot be had."""
        raise NotImplementedError

    def offered(self, num_classes: int, image_shape: tuple[int, int, int]) -> dict[str, Any]:
        """Arguments for the constructor that it gets where it takes them."""
        raise NotImplementedError

    def network(self, num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
        """The network itself, with weights from torch's random state or from the file.

        Raises UserError if it cannot be made.
        """
        from fobench.models.construct import construct, prepare
        from fobench.models.weights import load_weights

        where = f'[model] name = "{self.name}"'
        offered = self.offered(num_classes, image_shape)
        made = construct(where, self.constructor(), self.options, offered)
        network = prepare(where, made, image_shape, self.stem_stride)
        if self.weights is not None:
            path = expand_user(self.weights)
            require_unchanged(path, self._digests["weights_sha256"])
            load_weights(network, path)
        return network

    def build(self, num_classes: int, image_shape: tuple[int, int, int]) -> CutNetwork:
        from fobench.models.construct import cut_for

        return cut_for(self, self.network(num_classes, image_shape), num_classes, image_shape)

    def build_on_meta(self, num_classes: int, image_shape: tuple[int, int, int]) -> CutNetwork:
        from fobench.cutting.record import on_meta
        from fobench.cutting.refusals import leaving_random_states
        from fobench.models.construct import cut_for

        # Some networks cannot be made there.
        with leaving_random_states():
            network = on_meta(self.network(num_classes, image_shape))
        return cut_for(self, network, num_classes, image_shape)

    def require_buildable(
        self, num_classes: int, image_shape: tuple[int, int, int]
    ) -> Comparison | None:
        from fobench.cutting.refusals import leaving_random_states
        from fobench.models.construct import compare_and_tell

        with leaving_random_states():
            return compare_and_tell(self, num_classes, image_shape)
