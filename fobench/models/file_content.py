"""Files that a network depends on: there, and with the content that its run id covers."""

import ast
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from fobench.errors import UserError
from fobench.machine.home import expand_user
from fobench.validation import format_value


def require_file(key: str, path: str) -> None:
    """Raises ValueError unless the path is that of a file."""
    try:
        there = expand_user(path).is_file()
    except UserError as error:
        raise ValueError(f"{key}: {error}") from error
    if not there:
        raise ValueError(f"{key} = {format_value(path)}: there is no such file; correct the path")


def digest_of(path: Path) -> str:
    """Raises ValueError for a file that cannot be read."""
    sha256 = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                sha256.update(chunk)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error
    return sha256.hexdigest()[:16]


def source_digest_of(path: Path) -> str:
    """That of a Python file and of the modules beside it that it imports.

    Raises ValueError for a file that cannot be read.
    """
    beside = modules_beside(path)
    if not beside:
        return digest_of(path)
    parts = [digest_of(path), *(f"{name} {digest_of(file)}" for name, file in beside.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def modules_beside(path: Path) -> dict[str, Path]:
    """The files in a Python file's folder that it imports, and that those import, by name.

    Of a link the folder is that of the file itself, from which they are imported.
    """
    path = path.resolve()
    folder, found, waiting = path.parent, dict[str, Path](), [path]
    while waiting:
        for name in imported_names(waiting.pop()):
            for file in files_of(folder, name):
                if file != path and file not in found.values():
                    found[file.relative_to(folder).as_posix()] = file
                    waiting.append(file)
    return dict(sorted(found.items()))


def imported_names(path: Path) -> Iterator[str]:
    """The modules that a Python file imports; none of one that is not valid."""
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return  # importing it says what is wrong
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)


def files_of(folder: Path, name: str) -> list[Path]:
    """The files of a module in a folder: of a package all, as they import each other."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        place = folder.joinpath(*parts[:length])
        if (place / "__init__.py").is_file():
            return sorted(place.rglob("*.py"))
        if place.with_name(f"{place.name}.py").is_file():
            return [place.with_name(f"{place.name}.py")]
    return []


def require_unchanged(path: Path, digest: str) -> None:
    """Raises UserError if a file has changed since the config was read."""
    require_digest(digest_of, path, digest, str(path))


def require_source_unchanged(path: Path, digest: str) -> None:
    """Raises UserError if a Python file, or what it imports, has changed since then."""
    what = f"{path}, or a module beside it," if modules_beside(path) else str(path)
    require_digest(source_digest_of, path, digest, what)


def require_digest(take: Callable[[Path], str], path: Path, digest: str, what: str) -> None:
    try:
        same = take(path) == digest
    except ValueError:
        same = False
    if not same:
        raise UserError(
            f"{what} has changed since this process read it: give the same command again, which "
            "trains the changed network as other runs"
        )
