"""The configs that come with fobench, by name. No torch."""

from importlib.resources import files
from pathlib import Path

from fobench.errors import UserError
from fobench.records.files import exists


def configs_folder() -> Path:
    """The folder `configs/` of the checkout or of the installed package."""
    return Path(str(files("fobench") / "configs"))


def names_of_configs() -> list[str]:
    """The names, such as quick/densenet."""
    folder = configs_folder()
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.glob("*/*.toml"))


def find_config(path: Path) -> Path:
    """The config at `path`, or else the packaged one of that name.

    Raises UserError if there is neither.
    """
    if exists(path) or path.suffix == ".toml":
        return path
    return packaged_config(str(path))


def packaged_config(name: str) -> Path:
    """The packaged config of that name. Raises UserError if there is none."""
    names = names_of_configs()
    if name not in names:
        raise UserError(
            f"{name}: there is no such file, and no config of that name comes with fobench; "
            f"available are {', '.join(names)}"
        )
    return configs_folder() / f"{name}.toml"
