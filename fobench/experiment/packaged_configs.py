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
    is_packaged = name_of(path) in names_of_configs()
    if exists(path) and not (is_packaged and path.is_dir()):
        return path
    if path.suffix == ".toml" and not is_packaged:
        return path  # whose reader says that it is not there
    return packaged_config(str(path))


def name_of(path: Path) -> str:
    """A packaged config's name, as people write it: with or without its suffix."""
    return str(path.with_suffix("") if path.suffix == ".toml" else path)


def packaged_config(name: str) -> Path:
    """The packaged config of that name. Raises UserError if there is none."""
    names, wanted = names_of_configs(), name_of(Path(name))
    if wanted not in names:
        raise UserError(
            f"{name}: there is no such file, and no config of that name comes with fobench; "
            f"available are {', '.join(names)}"
        )
    return configs_folder() / f"{wanted}.toml"
