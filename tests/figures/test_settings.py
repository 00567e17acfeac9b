"""The same results give the same bytes, whatever matplotlib's settings of the user are."""

import os
import subprocess
import sys

import matplotlib
import pytest

from fobench.evidence.results import read_results
from fobench.figures import SUFFIXES
from fobench.figures.export import render

PLOT = (
    "import sys; from fobench.cli import main\n"
    "for suffix in sys.argv[2:]:\n"
    " main(['plot', sys.argv[1], '-o', f'figure{suffix}'], standalone_mode=False)"
)
SETTINGS = b"""
backend: TkAgg
text.usetex: True
font.family: No Such Font
figure.dpi: 300
figure.constrained_layout.use: True
savefig.dpi: 50
savefig.bbox: tight
savefig.format: pdf
savefig.transparent: True
svg.fonttype: none
pdf.fonttype: 42
axes.facecolor: black
axes.grid: True
axes.formatter.use_mathtext: True
axes.formatter.use_locale: True
lines.linewidth: 9
"""
NOT_UTF8 = b"text.usetex: \xff\xfe\n:::"


def plotted(results, folder, **environment) -> dict[str, bytes]:
    """The figure in each format, drawn by the command in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-c", PLOT, results, *SUFFIXES],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    assert ran.stderr == b""
    return {suffix: (folder / f"figure{suffix}").read_bytes() for suffix in SUFFIXES}


@pytest.fixture(scope="module")
def usual(tiny_results, tmp_path_factory) -> dict[str, bytes]:
    return plotted(tiny_results, tmp_path_factory.mktemp("usual"))


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(
            {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}, marks=pytest.mark.slow
        ),
        pytest.param({"MPLBACKEND": "module://no.such.module"}, marks=pytest.mark.slow),
        pytest.param({"MPLBACKEND": "nonsense"}, marks=pytest.mark.slow),
        pytest.param({"MPLBACKEND": "TkAgg"}, marks=pytest.mark.slow),
        pytest.param({"MATPLOTLIBRC": "no-such-file"}, marks=pytest.mark.slow),
        {"TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "1", "PYTHONHASHSEED": "5"},
        pytest.param(
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, marks=pytest.mark.slow
        ),
    ],
    ids=str,
)
def test_the_environment_changes_no_figure(usual, tiny_results, tmp_path, environment):
    assert plotted(tiny_results, tmp_path, **environment) == usual


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(SETTINGS, id="settings"),
        pytest.param(NOT_UTF8, id="not UTF-8", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    ("file", "environment"),
    [
        ("settings", {"MATPLOTLIBRC": "settings"}),
        pytest.param("matplotlibrc", {}, marks=pytest.mark.slow),
        pytest.param("folder/matplotlibrc", {"MPLCONFIGDIR": "folder"}, marks=pytest.mark.slow),
        pytest.param(
            "folder/stylelib/some.mplstyle", {"MPLCONFIGDIR": "folder"}, marks=pytest.mark.slow
        ),
    ],
)
def test_files_of_settings_change_no_figure(
    usual, tiny_results, tmp_path, content, file, environment
):
    """In all places where matplotlib looks for them."""
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    environment = {name: str(tmp_path / each) for name, each in environment.items()}
    assert plotted(tiny_results, tmp_path, **environment) == usual


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_process_with_settings_of_its_own_keeps_them(usual, tiny_results, suffix):
    """As in a notebook that draws our figures and others."""
    panels, _ = read_results([tiny_results])
    settings = {"text.usetex": True, "font.family": "No Such Font", "figure.dpi": 300,
                "savefig.dpi": 50, "axes.facecolor": "black", "text.parse_math": True}  # fmt: skip
    with matplotlib.rc_context(settings):
        before = dict(matplotlib.rcParams.copy())
        assert render(panels, "speedup-error", suffix) == usual[suffix]
        assert dict(matplotlib.rcParams.copy()) == before


def test_the_users_environment_and_folder_are_as_before(tiny_results, tmp_path):
    code = (
        "import os, sys; before = dict(os.environ), os.getcwd()\n"
        "from fobench.figures.settings import import_without_user_settings\n"
        "import_without_user_settings(); assert 'matplotlib' in sys.modules\n"
        "assert (dict(os.environ), os.getcwd()) == before"
    )
    environment = {"MPLBACKEND": "nonsense", "MPLCONFIGDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=os.environ | environment, check=True)


def test_where_nothing_temporary_can_be_written_a_message_says_so(tiny_results, tmp_path):
    (tmp_path / "gone").mkdir()
    code = f"import os; os.rmdir(os.getcwd())\n{PLOT}"
    ran = subprocess.run(
        [sys.executable, "-c", code, tiny_results, ".svg"],
        cwd=tmp_path / "gone",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("Error: a temporary folder cannot be used (No such file or")
    assert "Traceback" not in ran.stderr
