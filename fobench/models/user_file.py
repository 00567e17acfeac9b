"""A class or function from a user's Python file."""

import importlib.util
import io
import logging
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import fobench
from fobench.errors import UserError, is_ours, is_theirs, place_of, printable
from fobench.models.file_content import modules_beside

log = logging.getLogger(__name__)

SHOWN = 200  # characters of what was printed
# What was printed, and where; no place once it was told.
printed_texts: dict[str, str] = {}
# Of users' files, the last one first; and what the last one imported from its own.
folders: list[str] = []
beside: set[str] = set()


def load(path: Path, name: str, digest: str) -> Callable[..., Any]:
    """What `name` is in the file of that content.

    Raises UserError if the file fails or has no such thing.
    """
    module = imported(path.resolve(), digest)
    if not callable(getattr(module, name, None)):
        known = [key for key, each in vars(module).items() if callable(each) and key[0] != "_"]
        near = get_close_matches(name, known, n=1) or known[:5]
        hint = f"did you mean {' or '.join(near)}?" if near else "it defines none"
        raise UserError(f"[model] {path} has no class or function {name}: {hint}")
    return getattr(module, name)


@cache
def imported(path: Path, digest: str) -> Any:
    """The module in a file; modules beside it can be imported, as when Python runs it."""
    from fobench.cutting.refusals import leaving_random_states

    name = f"fobench_user_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    # A worker imports it between the seed and the weights.
    with (
        leaving_random_states(),
        importing_beside(path.parent),
        users_code(f"[model] {path}", "importing it"),
        importing_absolutely(path),
    ):
        specification.loader.exec_module(module)
    return module


@contextmanager
def importing_absolutely(path: Path) -> Iterator[None]:
    """An error of a relative import in the block says what to write."""
    try:
        yield
    except ImportError as error:
        if "relative import with no known parent" in str(error):
            raise UserError(
                f"[model] {path}: a relative import{place_of(error)}, but the file is imported by "
                "itself, not as part of a package: write `from blocks import …` for `from .blocks "
                "import …`"
            ) from error
        raise


@contextmanager
def importing_beside(folder: Path) -> Iterator[None]:
    """In the block, modules are imported from a folder, too, anew; later ones are, as well.

    Behind all others, so that no file there takes the place of an installed module.
    """
    for name in beside:  # of another file, or changed since
        sys.modules.pop(name, None)
    others = [each for each in sys.path if each not in folders]
    folders[:] = [str(folder), *(each for each in folders if each != str(folder))]
    sys.path[:] = [*others, *folders]
    importlib.invalidate_caches()
    before, writes_none = set(sys.modules), sys.dont_write_bytecode
    # Kept code would be taken for that of a change in the same second; and folders stay clean.
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes_none
        beside.clear()
        for name in set(sys.modules) - before:
            place = folder / name.partition(".")[0]
            file = Path(getattr(sys.modules[name], "__file__", None) or "/")
            if file == place.with_suffix(".py") or file.is_relative_to(place):
                beside.add(name)


@contextmanager
def importing_only_what_is_known(path: Path) -> Iterator[None]:
    """Raises UserError if the block imports modules of the user's that `modules_beside` misses.

    They are in no run id: runs of other networks would have the same.
    """
    before = list(sys.modules.values())  # kept, as an id is unique while its module lives
    known_ids = set(map(id, before))
    yield
    new = {name: each for name, each in sys.modules.items() if id(each) not in known_ids}
    own = {name: file for name, each in sorted(new.items()) if (file := source_of(each))}
    beside.update(own)
    known = {path.resolve(), *(each.resolve() for each in modules_beside(path).values())}
    for name, file in own.items():
        if file not in known:
            imported.cache_clear()  # so that they are imported, and refused, again
            raise UserError(
                f"[model] {path} imports {file}, which no run id would cover: put it beside the "
                f"file and write `import {name.rpartition('.')[2]}` there, without importlib, "
                "sys.path or PYTHONPATH; or install it, but not as editable"
            )


def source_of(module: ModuleType) -> Path | None:
    """The file of a module, unless it is installed, or of fobench."""
    file = Path(getattr(module, "__file__", None) or "")
    # Modules without a file can name one, such as torch.ops.
    if not file.is_absolute() or {"site-packages", "dist-packages"} & set(file.parts):
        return None
    installed = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    found = file.resolve()
    not_theirs = (*map(Path, installed), Path(fobench.__file__).parent)
    return None if any(map(found.is_relative_to, map(Path.resolve, not_theirs))) else found


@contextmanager
def users_code(where: str, doing: str) -> Iterator[None]:
    """Run a user's code: its errors become a UserError, what it prints is kept.

    Nothing that it prints may get into what fobench prints.
    """
    printed = io.StringIO()
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # not a signal to stop
        told = f"; it printed: {last_line}" if (last_line := last_line_of(printed)) else ""
        raise UserError(f"{where}: {doing} raised {described(error)}{told}") from error
    text = printed.getvalue().strip()
    if text and text not in printed_texts:
        printed_texts[text] = where


@contextmanager
def printing_to_stderr() -> Iterator[None]:
    """What users' code prints in the block does not get into what other programs read."""
    with redirect_stdout(sys.stderr):
        yield


def last_line_of(printed: io.StringIO) -> str:
    """The last line before an error says the most about it."""
    lines = printed.getvalue().split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return printable(last if len(last) <= SHOWN else f"{last[:SHOWN]}…")


def tell_what_it_printed() -> None:
    """Log what users' code has printed so far, once, in a line."""
    for text, where in printed_texts.items():
        first, _, rest = text.partition("\n")
        more = f" … and {len(rest.splitlines())} more lines" if rest else ""
        if where:
            log.info("%s printed: %s%s", where.removeprefix("[model] "), printable(first), more)
        printed_texts[text] = ""


def is_of_users_code(error: BaseException) -> bool:
    """Whether an error arose in a user's file or in what that called, and not in fobench."""
    own = tuple(f"{folder}/" for folder in folders)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if is_ours(frame) or is_theirs(frame):
            return not is_ours(frame) and frame.filename.startswith(own)
    return False


def described(error: BaseException) -> str:
    """An error's type and text, and where in whose file it arose."""
    text = printable(" ".join(str(error).split()))
    return f"{type(error).__name__}{f': {text}' if text else ''}{place_of(error)}"
