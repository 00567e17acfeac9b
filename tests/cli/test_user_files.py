"""A user's file with a network, through the command line: what works, and what it says if not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fobench.experiment.config import load_all
from fobench.models import user_file
from fobench.sweep.plan import plan_all
from tests.cli.test_commands import imported_by
from tests.models.user_files import SOURCE, write_networks

FOBENCH = str(Path(sys.executable).with_name("fobench"))
CONFIG = """
[experiment]
name = "mine"
[data]
dataset = "synthetic"
train_size = 20
test_size = 10
image_size = 16
[model]
name = "./mynet.py:Net"
[train]
epochs = 2
batch_size = 10
[[method]]
name = "baseline"
[[method]]
name = "freezeout"
t0 = 0.5
"""
# As a user begins a file; line 6 is the first within the constructor.
HEAD = """import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
"""
LAYERS = """        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.c = nn.Linear(4, num_classes)
    def forward(self, x):
"""
FORWARD = """        return self.c(self.b(self.a(x).relu()).relu().mean((2, 3)))
"""
WORKS = HEAD + LAYERS + FORWARD
PRINTING_LAYER = """class Layer(nn.Conv2d):
    def forward(self, x):
        print("in a layer's forward")
        return super().forward(x)
"""


@pytest.fixture(autouse=True)
def _files_are_read_anew(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(user_file, "folders", [])


@pytest.fixture
def config(tmp_path) -> Path:
    write_networks(tmp_path)
    (tmp_path / "mine.toml").write_text(CONFIG)
    return tmp_path / "mine.toml"


def write(config: Path, source: str, **model: str) -> None:
    (config.parent / "mynet.py").write_text(source)
    options = "".join(f"{key} = {value}\n" for key, value in model.items())
    config.write_text(CONFIG.replace('py:Net"\n', f'py:Net"\n{options}'))


FAILING = {
    "imports relative to a package": (
        "import torch\nfrom .blocks import Net\n",
        ["line 2", "write `from blocks import …` for `from .blocks import …`"],
    ),
    "raises when imported": ("x = 1\n1 / 0\n", ["ZeroDivisionError", "line 2"]),
    "raises in a module's function": (
        "def f():\n    raise ValueError('my\\ntext')\nf()\n",
        ["importing it raised ValueError: my text", "line 2"],
    ),
    "raises in the constructor": (
        f"{HEAD}        self.x = self.nothing\n{LAYERS}{FORWARD}",
        ["AttributeError", "nothing", "line 6"],
    ),
    "raises in forward": (
        f"{HEAD}{LAYERS}        raise RuntimeError('in forward')\n",
        ["RuntimeError: in forward", "line 9"],
    ),
    "layers do not fit": (
        f"{HEAD}{LAYERS}        return self.c(self.a(x))\n",
        ["line 9", "16x16 pixels"],
    ),
    "imports something absent": ("import torch\nimport absent_thing\n", ["absent_thing", "line 2"]),
    "has a syntax error": ("import torch\nclass Net(:\n", ["SyntaxError", "line 2"]),
    "is no text": ("import torch\n\0\n", ["null bytes"]),
    "prints before it raises": (
        "print('loading\\nno file w.npy, using none')\n1 / 0\n",
        ["ZeroDivisionError", "line 2", "; it printed: no file w.npy, using none"],
    ),
    "exits when imported": ("import sys\nsys.exit(0)\n", ["SystemExit", "line 2"]),
    "exits in the constructor": (f"{HEAD}        raise SystemExit\n", ["SystemExit", "line 6"]),
    "exits in forward": (f"{HEAD}{LAYERS}        raise SystemExit(3)\n", ["SystemExit", "line 9"]),
    "returns no module": ("def Net(num_classes):\n    return [1]\n", ["returns a list"]),
    "returns a class": (
        f"{WORKS}Other = Net\ndef Net():\n    return Other\n",
        ["returns a type", "torch.nn.Module"],
    ),
    "is no function": ("Net = 3\n", ["no class or function Net", "it defines none"]),
    "defines no such name": (WORKS.replace("Net", "Nett"), ["did you mean Nett?"]),
    "needs more arguments": (WORKS.replace("self, num", "self, depth, num"), ["depth is missing"]),
    "has no parameters": (
        f"{HEAD}    def forward(self, x):\n        return x.mean((2, 3))\n",
        ["has no parameters", "nothing to train"],
    ),
    "returns a tuple in training": (
        f"{HEAD}{LAYERS}        y = self.a(x).mean((2, 3))\n"
        "        return (self.c(y), y) if self.training else self.c(y)\n",
        ["tuple in training mode"],
    ),
    "branches on data": (
        f"{HEAD}{LAYERS}        x = self.a(x)\n        if x.mean() > 0:\n            x = -x\n"
        "        return self.c(self.b(x).mean((2, 3)))\n",
        ["depends on the values", "line 10"],
    ),
    "reads a value": (
        f"{HEAD}{LAYERS}        x = self.a(x)\n        x = x * x.max().item()\n"
        "        return self.c(self.b(x).mean((2, 3)))\n",
        ["depends on the values", "line 10"],
    ),
    "has other outputs": (
        WORKS.replace("num_classes=10", "width=4").replace("num_classes", "width"),
        ["4 outputs"],
    ),
}


def require_one_message(ran, texts: list[str]) -> None:
    assert ran.exit_code == 2, ran.output
    lines = [line for line in ran.output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, ran.output
    assert ran.output.splitlines() == lines, "nothing else"
    assert ran.stdout == ""
    for text in ("mynet.py", *texts):
        assert text in lines[0], lines[0]


@pytest.mark.parametrize("case", FAILING)
def test_a_file_that_fails_is_one_message_and_status_2(fobench, config, case):
    source, texts = FAILING[case]
    write(config, source)
    require_one_message(fobench("units", config), texts)
    assert sorted(path.name for path in config.parent.iterdir() if path.suffix) == [
        "mine.toml",
        "mynet.py",
    ]


def test_a_dry_run_imports_neither_torch_nor_a_users_file(config, monkeypatch):
    """It lists the runs at once; the other commands find the mistakes in the file."""
    monkeypatch.chdir(config.parent)
    write(config, FAILING["raises when imported"][0])
    assert not imported_by("run", str(config), "--dry-run") & {"torch", "torchvision"}


@pytest.mark.parametrize("command", [("run",), ("predict",), ("units",)])
def test_all_commands_say_it_before_anything_is_done(fobench, config, command):
    write(config, FAILING["raises in forward"][0])
    require_one_message(fobench(*command, config), ["line 9"])
    assert not (config.parent / "results").exists()


def test_a_network_that_fails_to_name_weights_without_decay_is_told_before_it_is_trained(
    fobench, config, tmp_path
):
    names = "    def no_weight_decay(self, which):\n        return []\n"
    config.with_name("mynet.py").write_text(WORKS + names)
    ran = fobench("run", config, "--set", "train.decay_on=matrices", "--device", "cpu")
    assert ran.exit_code == 2
    assert "mine: [model] ./mynet.py:Net: Net: no_weight_decay() raised TypeError" in ran.output
    assert not list(tmp_path.glob("results/mine/*/run.json"))
    assert fobench("run", config, "--device", "cpu").exit_code == 0, "as it is not asked"


def test_a_network_without_batchnorms_to_fuse_is_told_before_anything_is_trained(
    fobench, config, tmp_path
):
    config.with_name("mynet.py").write_text(WORKS)
    ran = fobench("run", config, "--set", "train.fuse_batchnorm=true", "--device", "cpu")
    require_one_message(ran, ["fuse_batchnorm = true", "no unit of the network"])
    assert not list(tmp_path.glob("results/mine/*/run.json"))


def test_an_argument_that_is_given_where_it_is_missing_works(fobench, config):
    write(config, WORKS.replace("self, num", "self, depth, num"), options="{ depth = 3 }")
    assert fobench("units", config).exit_code == 0


REFUSING_LAYER = """class Layer(nn.Conv2d):
    def forward(self, x):
        if len(x) == 10:
            raise ValueError('not\\n10')
        return super().forward(x)
"""


def test_an_error_of_the_network_in_training_is_one_message_and_ours_a_traceback(
    fobench, config, caplog, monkeypatch
):
    """For a number of images that the comparison does not try."""
    from fobench.training.execute import plan_file

    def failure():
        caplog.clear()
        ran = fobench("run", config, "--device", "cpu", "--only", "baseline")
        assert ran.exit_code == 1, ran.output
        (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
        return record

    source = WORKS.replace("class Net", f"{REFUSING_LAYER}class Net")
    write(config, source.replace("nn.Conv2d(3", "Layer(3"))
    record = failure()
    assert record.getMessage().endswith(" failed: ValueError: not 10 (mynet.py, line 6)")
    assert record.exc_info is None

    monkeypatch.setattr(plan_file, "plan_of", "no function")
    assert failure().exc_info[0] is TypeError


def test_two_configs_of_one_file_each_say_what_is_wrong_and_work_when_it_works(
    fobench, config, caplog, monkeypatch
):
    other = config.with_name("other.toml")
    for case in ("raises when imported", "raises in forward"):
        write(config, FAILING[case][0])
        other.write_text(config.read_text().replace('"mine"', '"other"'))
        ran = fobench("run", config, other)
        assert ran.exit_code == 2
        one, two = ran.output.splitlines()
        assert one.replace("mine: ", "other: ", 1) == two
    caplog.set_level("INFO")
    write(config, f"print('hello from two configs')\n{WORKS}")
    monkeypatch.chdir(config.parent)
    plan_all(load_all([config, other]), Path("results"), None)
    assert caplog.text.count("hello from two configs") == 1
    assert caplog.text.count("equal to the uncut network") == 1, "checked once"


@pytest.fixture
def printing(config) -> Path:
    """A config of a file that prints whenever it can."""
    source = WORKS.replace("class Net", "print('hello', 'you', sep='\\n')\nclass Net")
    source = source.replace("        self.a", "        print('making')\n        self.a")
    source = source.replace("        return", "        print('in forward')\n        return")
    source = source.replace("nn.Conv2d(3", "Layer(3")
    write(config, source.replace("class Net", f"{PRINTING_LAYER}class Net"), units='["a", "b"]')
    return config


PRINTED = ("hello", "making", "in forward", "layer's forward")


def test_what_a_file_prints_is_a_line_of_the_log_and_not_in_the_output(fobench, printing, caplog):
    """The table and the list of runs are for other programs to read."""
    caplog.set_level("INFO")
    table = fobench("units", printing)
    assert caplog.text.count("hello") == 1
    assert "mynet.py printed: hello … and 1 more lines" in caplog.text
    listed = fobench("run", printing, "--dry-run")
    assert listed.stdout.splitlines()[0] == "mine on synthetic-16px: 2 of 2 runs to do"
    assert "3 units" in table.stdout
    assert not any(word in output for output in (listed.stdout, table.stdout) for word in PRINTED)


def test_what_a_block_prints_when_costs_are_counted_and_runs_train_is_not_in_the_output(
    fobench, config
):
    """It is none of the units, but within one."""
    inner = PRINTING_LAYER.replace("class Layer", "class Inner")
    layer = "class Layer(nn.Sequential):\n    def forward(self, x):\n        return self[0](x)\n"
    source = WORKS.replace("class Net", f"{inner}{layer}class Net")
    write(config, source.replace("nn.Conv2d(3, 4, 3)", "Layer(Inner(3, 4, 3))"))
    words = ("--device", "cpu", "--only", "baseline")
    for ran in (fobench("units", config), fobench("run", config, *words)):
        assert ran.exit_code == 0, ran.output
        assert "in a layer's forward" in ran.stderr
        assert "in a layer's forward" not in ran.stdout


@pytest.mark.slow
def test_what_a_file_prints_is_not_in_a_csv_on_standard_output(printing, tmp_path):
    """As in a shell, into a file that holds more."""
    path, words = tmp_path / "out.txt", [FOBENCH, "units", str(printing), "-o", "/dev/stdout"]
    with path.open("a") as file:
        file.write("before\n")
        file.flush()
        subprocess.run(words, stdout=file, cwd=tmp_path, check=True)
    text = path.read_text()
    assert text.startswith("before\n")
    assert "3 units" in text
    assert "0,a,a," in text
    assert not any(word in text for word in PRINTED)


def test_a_file_may_import_a_module_beside_it(fobench, config):
    (config.parent / "blocks_beside.py").write_text(SOURCE)
    write(config, "from blocks_beside import Net\n")
    ran = fobench("run", config, "--device", "cpu", "--only", "baseline")
    assert ran.exit_code == 0, ran.output


@pytest.mark.parametrize(
    "source",
    [
        WORKS.replace("num_classes=10):", "num_classes=10, **options):"),
        f"{WORKS}Other = Net\ndef Net(num_classes):\n    return Other(num_classes)\n",
        f"{WORKS}Other = Net\ndef Net(**options):\n    return Other(**options)\n",
        f"{WORKS}Other = Net\nNet = lambda n_classes: Other(n_classes)\n",
        WORKS.replace("num_classes=10", ""). replace("4, num_classes", "4, 10"),
        f"from functools import partial\n{WORKS}Net = partial(Net, num_classes=10)\n",
        f"from dataclasses import dataclass\n@dataclass\nclass Sizes:\n    width: int = 4\n{WORKS}",
        f"from __future__ import annotations\n{WORKS}",
    ],
)  # fmt: skip
def test_what_makes_a_network_may_be_of_many_kinds(fobench, config, source):
    write(config, source)
    ran = fobench("units", config)
    assert ran.exit_code == 0, ran.output


def test_a_file_is_found_from_wherever_the_name_says(fobench, config, monkeypatch):
    folder = config.parent / "torch" / "we ird"
    folder.mkdir(parents=True)
    (folder / "net.py").write_text(WORKS)
    for name in ("torch/we ird/net.py", folder / "net.py", "~/we ird/net.py"):
        monkeypatch.setenv("HOME", str(config.parent / "torch"))
        ran = fobench("units", config, "--set", f'model.name="{name}:Net"')
        assert ran.exit_code == 0, ran.output
    (folder / "net.py").write_text(FAILING["raises in forward"][0])
    ran = fobench("units", config, "--set", f'model.name="{folder}/net.py:Net"')
    assert "(net.py, line 9)" in ran.output, "a folder's name is no library"


def test_a_file_that_changes_while_runs_train_ends_them_with_a_message(
    fobench, config, monkeypatch
):
    from fobench.sweep import loop

    trained = []
    execute = loop.execute

    def changing(*arguments, **options):
        trained.append(execute(*arguments, **options))
        (config.parent / "mynet.py").write_text(f"{SOURCE}\n# edited\n")

    monkeypatch.setattr(loop, "execute", changing)
    ran = fobench("run", config, "--device", "cpu")
    assert ran.exit_code == 2, ran.output
    assert len(trained) == 1
    assert "mynet.py has changed since this process read it" in ran.output


@pytest.mark.slow
def test_a_users_file_trains_in_worker_processes_as_alone(config, tmp_path):
    write(config, f"import torch\ntorch.manual_seed(3)\n{SOURCE}", options="{ width = 3 }")
    words = (FOBENCH, "run", str(config), "--device", "cpu", "--set", "experiment.seeds=[0,1]")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for more in (("--results", "alone"), ("--results", "jobs", "--jobs", "2")):
        ran = subprocess.run(
            [*words, *more], cwd=tmp_path, env=environment, capture_output=True, check=False
        )
        assert ran.returncode == 0, ran.stderr.decode()
    alone, jobs = (sorted(tmp_path.glob(f"{each}/mine/*/epochs.csv")) for each in ("alone", "jobs"))
    assert len(alone) == len(jobs) == 4
    columns = slice(0, 8)
    for one, two in zip(alone, jobs, strict=True):
        assert one.parent.name == two.parent.name
        rows = [
            [line.split(",")[columns] for line in each.read_text().splitlines()]
            for each in (one, two)
        ]
        assert rows[0] == rows[1]


def test_a_signal_to_stop_while_a_users_code_runs_is_no_mistake_of_it(fobench, config):
    stop = "from fobench.machine.interruption import Stopped\nraise Stopped('SIGINT', 130)\n"
    write(config, stop)
    ran = fobench("units", config)
    assert ran.exit_code == 130
    assert "Stopped by SIGINT" in ran.output
    assert "Error" not in ran.output
