"""Makes a network from elsewhere with its constructor, and cuts it into units."""

import inspect
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any, Protocol

import torch
from torch import nn

from fobench.cutting.cut import cut_network
from fobench.cutting.cut_network import CutNetwork
from fobench.cutting.prepare import initialise, unwrapped
from fobench.cutting.refusals import CannotCutError, copy_of
from fobench.errors import UserError
from fobench.models.base import Comparison
from fobench.models.user_file import tell_what_it_printed, users_code

# Python's words, and those of some networks of timm, which list all of them.
UNEXPECTED = re.compile(
    r"([\w.]+)\(\) got (?:an )?unexpected keyword argument(?:\(s\): \[)? ?'(\w+)'"
)
Shape = tuple[int, int, int]


class Elsewhere(Protocol):
    """The options of a network that is cut into units."""

    name: str
    units: str | tuple[str, ...]

    def network(self, num_classes: int, image_shape: Shape) -> nn.Module: ...


def require_known(full_name: str, name: str, known: Collection[str]) -> None:
    """Raises UserError for a network that its source does not have, with the nearest."""
    if name in known:
        return
    near = get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {len(known)} others"
    source = full_name.partition(":")[0]
    raise UserError(f'[model] name = "{full_name}": {source} has no such network: {hint}')


def construct(
    where: str,
    constructor: Callable[..., Any],
    options: Mapping[str, Any],
    offered: Mapping[str, Any],
) -> nn.Module:
    """The network that the constructor makes of the options, and of what it takes of the offered.

    Raises UserError for an option that it does not take, if it fails, or returns no module.
    """
    given = {key: value for key, value in offered.items() if key not in options}
    known, takes_any = parameters_of(constructor)
    needed = [name for name in required(constructor) if name not in (*options, *given)]
    if needed:
        raise UserError(
            f"{where}: options: {needed[0]} is missing: give options = {{ {needed[0]} = … }}, or "
            f"--set 'model.options={{{needed[0]}=…}}'"
        )
    if not takes_any:
        given = {key: value for key, value in given.items() if key in known}
        for key in options:
            if key not in known:
                raise UserError(f"{where}: {unknown_option(key, known)}")
    while True:
        try:
            with users_code(where, "making the network"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made = constructor(**options, **given)
            break
        except UserError as error:
            cause = error.__cause__
            refused = UNEXPECTED.search(str(cause)) if isinstance(cause, TypeError) else None
            if refused and refused[2] in given:
                del given[refused[2]]
                continue
            if refused and refused[2] in options:
                known = parameters_named(refused[1].partition(".")[0], cause) or known
                raise UserError(f"{where}: {unknown_option(refused[2], known)}") from error
            raise
    if not isinstance(made, nn.Module):
        raise UserError(
            f"{where}: it returns a {type(made).__name__}: it must return a torch.nn.Module"
        )
    ignored = [key for key in options if key not in known] if is_torchvisions(constructor) else []
    taken = [name for cls in type(made).__mro__ for name in parameters_of(cls.__init__)[0]]
    for key in ignored:
        if key not in taken:  # some of its classes take whatever they are given
            raise UserError(f"{where}: {unknown_option(key, taken[1:])}")
    if not any(True for _ in made.parameters()):
        raise UserError(f"{where}: the network has no parameters, so there is nothing to train")
    return made


def prepare(
    where: str, made: nn.Module, image_shape: Shape, stem_stride: int | None = None
) -> nn.Module:
    """The network without wrappers such as DataParallel, with the stride of its stem set.

    Then its lazy modules get their sizes, from images [H, W, C]. Raises UserError if that cannot
    be, or for a network without memory.
    """
    try:
        with users_code(where, "its forward pass"):
            network = unwrapped(made)
            shape = given_shape(network, image_shape)
            for name, each in (*network.named_parameters(), *network.named_buffers()):
                if each.is_meta:
                    raise UserError(f"{name} is on the meta device: make the network on the CPU")
            if stem_stride is not None:
                set_stem_stride(network, shape, stem_stride)
            initialise(network, shape)
            return network
    except UserError as error:
        raise UserError(f"{where}: {problem}" for problem in error.problems) from error


def is_torchvisions(constructor: Callable[..., Any]) -> bool:
    return (getattr(constructor, "__module__", None) or "").startswith("torchvision.")


BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def signature_of(constructor: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """Its parameters; None if Python does not know them."""
    try:
        return list(inspect.signature(constructor).parameters.values())
    except (TypeError, ValueError):
        return None


def required(constructor: Callable[..., Any]) -> list[str]:
    """The names of the parameters without a default that can be given by name."""
    parameters = signature_of(constructor) or []
    return [each.name for each in parameters if each.kind in BY_NAME and each.default is each.empty]


def parameters_of(constructor: Callable[..., Any]) -> tuple[list[str], bool]:
    """The names of the parameters, and whether others are passed on."""
    parameters = signature_of(constructor)
    if parameters is None:
        return [], True
    named = [each.name for each in parameters if each.kind in BY_NAME]
    return named, any(each.kind is each.VAR_KEYWORD for each in parameters)


def parameters_named(cls: str, error: BaseException | None) -> list[str]:
    """The parameters of the class or function of that name, near where an error arose."""
    frame = error.__traceback__ if error else None
    while frame is not None:
        for scope in (frame.tb_frame.f_locals, frame.tb_frame.f_globals):
            for each in scope.values():
                if getattr(each, "__name__", None) == cls and callable(each):
                    return parameters_of(each)[0]
        frame = frame.tb_next
    return []


def unknown_option(key: str, known: list[str]) -> str:
    near = get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known) or 'none'}"
    return f"options: {key} is not known: {hint}"


def cut_for(
    options: Elsewhere,
    network: nn.Module,
    num_classes: int,
    image_shape: Shape,
    check: bool = False,
) -> CutNetwork:
    """The network cut into units for images [H, W, C].

    Raises UserError if it cannot be cut, or has another number of outputs than classes.
    """
    shape = given_shape(network, image_shape)
    where = f"[model] {options.name}"
    try:
        with users_code(where, "its forward pass"):
            cut = cut_network(network, shape, options.units, check=check)
    except UserError as error:
        told = (each.removeprefix(f"{where}: ") for each in error.problems)
        raise UserError(f"{where}: {each}" for each in told) from error
    if cut.outputs != num_classes:
        raise UserError(
            f"{where}: the network has {cut.outputs} outputs, the data set "
            f"{num_classes} classes: let its constructor take num_classes, or set it in options"
        )
    if shape != tuple(image_shape):
        first = next(iter(dict(cut.named_children())))
        setattr(cut, first, nn.Sequential(RepeatGrey(), cut[0]))
    return cut


def given_shape(network: nn.Module, image_shape: Shape) -> Shape:
    """The shape of the images [H, W, C] that it is given: grey ones as colour, if it takes that."""
    height, width, channels = image_shape
    return height, width, 3 if channels == 1 and takes_colour(network) else channels


def takes_colour(network: nn.Module) -> bool:
    """Whether the first convolution reads three channels."""
    layers = (each for each in network.modules() if isinstance(each, nn.Conv2d))
    return next((each.in_channels == 3 for each in layers), False)


class RepeatGrey(nn.Module):
    """Grey images [B, 1, H, W] as colour images [B, 3, H, W]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def units_found(network: nn.Module, image_shape: Shape) -> CutNetwork:
    """A copy, cut into the units that are found, whichever the network itself is cut into.

    Raises UserError if none are found.
    """
    height, width, channels = image_shape
    failures = []
    for factor in (1, 2, 4, 8):  # its images may be large enough with the other stride only
        try:
            shape = (height * factor, width * factor, channels)
            copied = copy_of(network)
            initialise(copied, shape)
            return cut_network(copied, shape, "auto", check=False)
        except CannotCutError as error:
            failures.append(error)
    raise UserError(f"stem_stride: no stem is found, as {failures[0]}") from failures[0]


def set_stem_stride(network: nn.Module, image_shape: Shape, stride: int) -> None:
    """Give the strided layers of the first unit that stride. Raises UserError if there is none."""
    cut = units_found(network, image_shape)
    first = {id(each) for each in cut[0].modules()}
    paths = [path for path, each in cut.original.named_modules() if id(each) in first]
    changed = 0
    for module in map(network.get_submodule, paths):
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            strides = module.stride if isinstance(module.stride, tuple) else (module.stride,) * 2
            if max(strides) > stride:
                module.stride = (stride, stride)
                changed += 1
    if not changed:
        raise UserError(
            f"stem_stride = {stride}: no layer of the first unit has a larger stride: leave it out"
        )


compared: dict[tuple[Elsewhere, int, Shape], Comparison] = {}


def compare_and_tell(options: Elsewhere, num_classes: int, image_shape: Shape) -> Comparison:
    """Cut the network and compare it with itself uncut; log what came out. Once in a process."""
    key = (options, num_classes, tuple(image_shape))
    if key not in compared:
        network = options.network(num_classes, image_shape)
        cut = cut_for(options, network, num_classes, image_shape, check=True)
        names = tuple(name for name, _ in cut.named_children())
        compared[key] = Comparison(names, cut.notes)
        tell_what_it_printed()
        compared[key].log(options.name)
    return compared[key]
