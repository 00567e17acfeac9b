"""Networks from elsewhere: their names, options, weights, what identifies them, their images."""

import copy
import os
import pickle
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fobench.cutting.refusals import random_states
from fobench.errors import UserError
from fobench.experiment.config import read_model
from fobench.machine.seeds import seed_globally
from fobench.models import FAMILIES, options_class, user_file
from fobench.models.construct import cut_for, prepare
from fobench.models.elsewhere import ElsewhereOptions
from fobench.models.sources import FileOptions, TimmOptions, TorchvisionOptions
from fobench.models.weights import load_weights
from tests.models.user_files import SOURCE, write_networks

SHAPE = (16, 16, 3)
CLASSES = 10


@pytest.fixture
def file(tmp_path) -> str:
    return write_networks(tmp_path)


@pytest.fixture(autouse=True)
def _files_are_read_anew(monkeypatch):
    """As by a new process."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(user_file, "folders", [])
    user_file.imported.cache_clear()


def model(name: str, **options) -> ElsewhereOptions:
    return options_class(name)(name=name, **options)


def problems(name: str, **options) -> str:
    """What is wrong with a [model] table."""
    found, wrong = read_model({"model": {"name": name, **options}})
    assert found is None
    return "\n".join(wrong)


def failure(options: ElsewhereOptions, classes: int = CLASSES, shape=SHAPE) -> str:
    """The message on a network that cannot be built: a single line."""
    with pytest.raises(UserError) as raised:
        options.build(classes, shape)
    (line,) = str(raised.value).splitlines()
    return line


# Names.


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("torchvision:resnet18", TorchvisionOptions),
        ("timm:convnext_atto", TimmOptions),
        ("timm:resnet18.a1_in1k", TimmOptions),
        ("./mynet.py:Net", FileOptions),
        ("/home/me/a:b/mynet.py:Net", FileOptions),
        ("vgg", FAMILIES["vgg"]),
        ("resnet18", None),
        ("file:mynet.py", None),
        ("hub:resnet18", None),
        ("torchvision:", None),
        ("mynet.py:", FileOptions),
    ],
)
def test_a_name_says_where_the_network_comes_from(name, cls):
    assert options_class(name) is cls


def test_names_that_say_nothing_are_reported_with_what_there_is(file):
    for name in ("hub:resnet18", "torchvision:", "mynet.txt:Net"):
        assert "give torchvision:NAME, timm:NAME, FILE.py:NAME or one of" in problems(name)
    assert "name" in problems(f"{file}:")
    expected = "give a file, and a class or function in it that makes the network"
    for name in ("1Net", "my-net", "nets.Net"):
        assert problems(f"{file}:{name}").endswith(expected)
    assert "there is no such file" in problems("./nowhere.py:Net")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:resnet19", "torchvision has no such network: did you mean resnet"),
        ("torchvision:resnet18.a1", "torchvision has no such network: did you mean resnet18"),
        ("torchvision:fasterrcnn_resnet50_fpn", "torchvision has no such network"),
        ("torchvision:qqqq", "there are"),
        ("timm:convnext_attoo", "timm has no such network: did you mean convnext_atto"),
        ("timm:resnet18.nonsense", "nonsense"),
    ],
)
def test_an_unknown_network_is_reported_with_the_nearest(name, message):
    pytest.importorskip(name.partition(":")[0])
    assert message in failure(model(name))


def test_a_name_that_the_file_lacks_is_reported_with_the_nearest(file):
    assert "has no class or function Nett: did you mean Net?" in failure(model(f"{file}:Nett"))
    assert "has no class or function F" in failure(model(f"{file}:F"))


def test_without_timm_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert 'timm is not installed: pip install "fobench[timm]"' in failure(model("timm:resnet18"))


# Options.


@pytest.mark.parametrize(
    ("name", "option", "near"),
    [
        ("torchvision:resnet18", "zero_init_residul", "did you mean zero_init_residual?"),
        ("torchvision:mobilenet_v3_small", "droput", "did you mean dropout?"),
        ("timm:convnext_atto", "drop_path_rat", "did you mean drop_path_rate?"),
        ("timm:vit_tiny_patch16_224", "dept", "did you mean depth?"),
        ("timm:ese_vovnet19b_slim", "drop_rat", "did you mean drop_rate?"),
        ("{file}:Net", "widht", "did you mean width?"),
        ("{file}:small_resnet", "widht_per_group", "did you mean width_per_group?"),
        ("{file}:Colours", "colour", "it takes num_classes"),
    ],
)
def test_a_mistyped_option_is_named_with_the_nearest(file, name, option, near):
    if name.startswith("timm"):
        pytest.importorskip("timm")
    message = failure(model(name.format(file=file), options={option: 2}))
    assert f"options: {option} is not known: {near}" in message


def test_options_reach_the_constructor(file):
    made = model(f"{file}:Net", options={"width": 6, "dropout": 0.0}).network(7, SHAPE)
    assert (made.stem.out_channels, made.dropout.p, made.fc.out_features) == (6, 0.0, 7)
    made = model("torchvision:resnet18", options={"width_per_group": 64}).network(7, SHAPE)
    assert made.fc.out_features == 7


def test_the_size_and_the_channels_of_images_are_given_to_who_takes_them(file):
    made = model(f"{file}:Tokens").network(CLASSES, (16, 16, 3))
    assert made.positions.shape[1] == 5
    assert model(f"{file}:Net").network(CLASSES, (16, 16, 1)).stem.in_channels == 1
    given = model(f"{file}:Tokens", options={"img_size": 32}).network(CLASSES, (16, 16, 3))
    assert given.positions.shape[1] == 17, "what a config says comes first"


def test_a_network_of_timm_that_refuses_a_size_in_words_of_its_own_is_made_without():
    pytest.importorskip("timm")
    assert model("timm:ese_vovnet19b_slim").network(CLASSES, SHAPE).num_classes == CLASSES


@pytest.mark.parametrize("option", ["pretrained", "weights", "checkpoint_path"])
def test_options_that_download_are_refused(option):
    assert "would download weights that no run id knows" in problems(
        "torchvision:resnet18", options={option: "DEFAULT"}
    )


def test_a_list_in_a_network_of_ones_own_is_no_weights_to_start_from(file):
    model(f"{file}:Net", options={"weights": [0.1, 0.9]})
    assert "no run id knows" in problems(f"{file}:Net", options={"weights": "a.pt"})


def test_units_that_are_given_twice_are_refused(file):
    twice = ["first", "second", "first"]
    assert "units: first is given twice: give each module once" in problems(
        f"{file}:Net", units=twice
    )


def test_options_that_no_record_can_hold_are_refused(file):
    import datetime

    for value in (datetime.date(2020, 1, 1), float("nan"), {"deep": [float("inf")]}):
        assert "options" in problems(f"{file}:Net", options={"width": value})


def test_an_argument_that_is_missing_is_named(file, tmp_path):
    (tmp_path / "mynet.py").write_text(
        SOURCE.replace("num_classes, width=4", "num_classes, width, depth, *")
    )
    message = failure(model(f"{file}:Net", options={"width": 3}))
    assert "depth" in message
    assert "options" in message


def test_another_number_of_outputs_than_classes_is_reported(file):
    message = failure(model(f"{file}:Net", options={"num_classes": 4}))
    assert "the network has 4 outputs, the data set 10 classes" in message


# Weights.


@pytest.fixture
def trained(file) -> nn.Module:
    """A network other than the one that a run starts with."""
    torch.manual_seed(7)
    return model(f"{file}:Net").network(CLASSES, SHAPE)


def started(file: str, weights: Path) -> nn.Module:
    torch.manual_seed(1)
    return model(f"{file}:Net", weights=str(weights)).network(CLASSES, SHAPE)


def equal(one: nn.Module | dict, other: nn.Module | dict) -> bool:
    one, other = (
        dict(getattr(each, "state_dict", lambda each=each: each)()) for each in (one, other)
    )
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def as_is(state: dict) -> object:
    return state


def of_parallel(state: dict) -> object:
    return {f"module.{key}": each for key, each in state.items()}


def of_compiled(state: dict) -> object:
    return {f"_orig_mod.{key}": each for key, each in state.items()}


def nested(state: dict) -> object:
    return {"epoch": 3, "state_dict": of_parallel(state), "optimizer": {"state": {}}}


def nested_deeper(state: dict) -> object:
    return {"model": {"state_dict": state}, "args": {"lr": 0.1}}


@pytest.mark.parametrize("kept_as", [as_is, of_parallel, of_compiled, nested, nested_deeper])
def test_weights_are_read_as_training_programs_save_them(file, tmp_path, trained, kept_as):
    torch.save(kept_as(trained.state_dict()), tmp_path / "w.pt")
    made = started(file, tmp_path / "w.pt")
    assert equal(made, trained)
    cut = model(f"{file}:Net", weights=str(tmp_path / "w.pt")).build(CLASSES, SHAPE)
    assert equal(cut.state_dict(), trained)


def test_weights_are_read_from_safetensors(file, tmp_path, trained):
    torch_files = pytest.importorskip("safetensors.torch")
    torch_files.save_file(trained.state_dict(), tmp_path / "w.safetensors")
    assert equal(started(file, tmp_path / "w.safetensors"), trained)
    (tmp_path / "w.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"w.safetensors cannot be read"):
        started(file, tmp_path / "w.safetensors")


def test_what_does_not_fit_is_told_by_name_and_stays(file, tmp_path, trained, caplog):
    caplog.set_level("INFO")
    state = trained.state_dict()
    state["fc.weight"] = torch.zeros(1000, 4)
    state["extra.weight"] = torch.zeros(1)
    del state["stem.bias"]
    torch.save(state, tmp_path / "w.pt")
    made = started(file, tmp_path / "w.pt")
    torch.manual_seed(1)
    plain = model(f"{file}:Net").network(CLASSES, SHAPE)
    assert torch.equal(made.fc.weight, plain.fc.weight)
    assert torch.equal(made.stem.bias, plain.stem.bias)
    assert torch.equal(made.stem.weight, trained.stem.weight)
    (told,) = [each.getMessage() for each in caplog.records if "w.pt" in each.getMessage()]
    assert "14 of the network's 16 tensors are from the file" in told
    assert "not stem.bias, fc.weight" in told
    assert "in the file alone, or of another shape: fc.weight, extra.weight" in told


def test_weights_of_which_nothing_fits_are_refused(file, tmp_path):
    torch.save({"other.weight": torch.zeros(2), "fc.weight": torch.zeros(3)}, tmp_path / "w.pt")
    message = failure(model(f"{file}:Net", weights=str(tmp_path / "w.pt")))
    assert "w.pt has no tensor of a name and shape as in Net" in message
    assert "it begins with other.weight, fc.weight, the network with stem.weight" in message


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("owned",)


@pytest.mark.parametrize("content", [b"", b"weights", b"PK\3\4 cut off", pickle.dumps({"a": 1})])
def test_a_file_that_holds_no_weights_is_reported(file, tmp_path, content):
    (tmp_path / "w.pt").write_bytes(content)
    message = failure(model(f"{file}:Net", weights=str(tmp_path / "w.pt")))
    assert "w.pt" in message
    assert "torch.save(network.state_dict()" in message or "has no tensor of a name" in message


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {}, {"state_dict": {}}])
def test_a_file_that_holds_something_else_is_reported(file, tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    message = failure(model(f"{file}:Net", weights=str(tmp_path / "w.pt")))
    assert "w.pt holds no weights by name" in message


def test_no_code_is_run_from_weights(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.weight": Hostile()}, "w.pt")
    message = failure(model(f"{file}:Net", weights="w.pt"))
    assert "w.pt" in message
    assert "weights_only" not in message, "nobody is told how to run it"
    assert not (tmp_path / "owned").exists()
    torch.load("w.pt", weights_only=False)
    assert (tmp_path / "owned").exists(), "it would have run"


def test_weights_that_are_not_there_or_cannot_be_read_are_reported_with_all_else(file):
    assert "weights = " in problems(f"{file}:Net", weights="none.pt")
    both = problems(f"{file}:Net", weights="none.pt", units="autoo")
    assert "there is no such file" in both
    assert "units = 'autoo'" in both
    if Path("/proc/self/mem").exists():
        assert "/proc/self/mem cannot be read" in problems(f"{file}:Net", weights="/proc/self/mem")


# What identifies a network.


def test_a_run_id_is_of_what_the_file_says_not_of_where_it_lies(tmp_path):
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
    same, moved = (model(f"{write_networks(tmp_path / each)}:Net") for each in "ab")
    other = write_networks(tmp_path / "c", source=SOURCE.replace("0.2", "0.3"))
    assert same.identity() == moved.identity()
    assert same != moved, "their records differ"
    assert same.identity() != model(f"{other}:Net").identity()
    assert same.identity() != model(same.name.replace("Net", "Tokens")).identity()


def test_a_run_id_is_of_the_modules_beside_the_file_that_it_imports(tmp_path):
    """And of what those import, but of no others there."""
    source = f"import torch\nfrom blocks import size\nimport parts.heads\n{SOURCE}"
    (tmp_path / "parts").mkdir()
    for name in ("blocks", "sizes", "parts/__init__", "parts/heads", "parts/tails", "others"):
        (tmp_path / f"{name}.py").write_text("size = 1\n")
    (tmp_path / "blocks.py").write_text("def size():\n    import sizes\n")
    made = model(f"{write_networks(tmp_path, source=source)}:Net")
    made.build(CLASSES, SHAPE)
    for name in ("blocks", "sizes", "parts/__init__", "parts/heads", "parts/tails"):
        before = made.replace()
        with (tmp_path / f"{name}.py").open("a") as file:
            file.write("size = 2\n")
        assert made.replace().identity() != before.identity(), name
        assert "mynet.py, or a module beside it, has changed since" in failure(before)
    before = made.replace()
    (tmp_path / "others.py").write_text("size = 2\n")
    assert made.replace().identity() == before.identity()


def test_a_link_to_a_file_is_of_the_modules_beside_the_file_itself(tmp_path):
    """From where they are imported; its name is that of the link."""
    for folder in ("linked", "real"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "sizes.py").write_text("WIDTH = 3\n")
    source = f"import sizes\n{SOURCE}".replace("width=4", "width=sizes.WIDTH")
    write_networks(tmp_path / "real", "its_own_name.py", source)
    (tmp_path / "linked" / "mynet.py").symlink_to("../real/its_own_name.py")
    made = model(f"{tmp_path / 'linked' / 'mynet.py'}:Net")
    assert made.short_name() == "mynet.py:Net"
    assert made.network(CLASSES, SHAPE).fc.in_features == 3
    (tmp_path / "linked" / "sizes.py").write_text("WIDTH = 5\n")
    assert made.replace().identity() == made.identity(), "nobody imports it"
    (tmp_path / "real" / "sizes.py").write_text("WIDTH = 4\n")
    assert made.replace().identity() != made.identity()
    assert made.replace().network(CLASSES, SHAPE).fc.in_features == 4
    assert "or a module beside it, has changed since" in failure(made)


UNSEEN = {
    "by importlib": "import importlib\nimportlib.import_module('layer_si' + 'zes')\n",
    "by PYTHONPATH": "import layer_in_path\n",
    "in a package by PYTHONPATH": "from path_parts.layer_in_parts import WIDTH\n",
    "from another folder": (
        "import sys\nsys.path.insert(0, '{folder}/parts')\nimport layer_blocks\n"
    ),
}


@pytest.mark.parametrize("how", UNSEEN)
@pytest.mark.parametrize("within", ["the file", "the constructor"])
def test_a_module_of_ones_own_that_no_run_id_covers_is_refused(
    tmp_path, tmp_path_factory, monkeypatch, how, within
):
    (tmp_path / "parts").mkdir()
    path = tmp_path_factory.mktemp("path")
    (path / "path_parts").mkdir()
    monkeypatch.syspath_prepend(str(path))
    files = [tmp_path / "layer_sizes.py", tmp_path / "parts" / "layer_blocks.py"]
    files += [path / "layer_in_path.py", path / "path_parts" / "layer_in_parts.py"]
    for each in files:
        each.write_text("WIDTH = 3\n")
    code = UNSEEN[how].format(folder=tmp_path)
    inner = "        super().__init__()\n        self.stem"
    indented = "".join(f"        {line}\n" for line in code.splitlines())
    source = code + SOURCE
    if within == "the constructor":
        source = SOURCE.replace(inner, f"{indented}{inner}")
        assert source != SOURCE
    made = model(f"{write_networks(tmp_path, source=source)}:Net")
    for _ in range(2):  # also once it was imported
        message = failure(made)
        assert "which no run id would cover: put it beside the file and write `import l" in message
        files_of = dict(zip(UNSEEN, ("sizes", "in_path", "in_parts", "blocks"), strict=True))
        assert f"layer_{files_of[how]}.py" in message


def test_a_module_that_only_the_forward_pass_imports_is_refused_as_well(tmp_path, monkeypatch):
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "late_sizes.py").write_text("SCALE = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    late = "        import late_sizes\n        return self.fc(late_sizes.SCALE * "
    source = SOURCE.replace("        return self.fc(", late, 1)
    made = model(f"{write_networks(tmp_path, source=source)}:Net")
    with pytest.raises(UserError, match=r"late_sizes\.py, which no run id would cover"):
        made.require_buildable(CLASSES, SHAPE)


def test_a_module_that_is_installed_within_the_folder_is_not_ones_own(tmp_path, monkeypatch):
    """As in a virtual environment beside the file."""
    installed = tmp_path / ".venv" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "installed_sizes.py").write_text("WIDTH = 3\n")
    monkeypatch.syspath_prepend(str(installed))
    source = f"import installed_sizes\n{SOURCE}"
    model(f"{write_networks(tmp_path, source=source)}:Net").network(CLASSES, SHAPE)


def test_files_in_two_folders_import_each_their_own_modules(tmp_path):
    """Of the same name."""
    made = []
    for width, folder in enumerate("ab", start=3):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "sizes.py").write_text(f"WIDTH = {width}\n")
        source = SOURCE.replace("width=4", "width=sizes.WIDTH").replace(
            "import torch\n", "import torch\nimport sizes\n", 1
        )
        made.append(model(f"{write_networks(tmp_path / folder, source=source)}:Net"))
    for _ in range(2):
        assert [each.network(CLASSES, SHAPE).fc.in_features for each in made] == [3, 4]


def test_a_run_id_is_of_what_the_weights_are_not_of_where_they_lie(file, tmp_path):
    for name, value in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
        torch.save({"fc.bias": torch.full((10,), value)}, tmp_path / name)
    (tmp_path / "b").write_bytes((tmp_path / "a").read_bytes())
    a, b, c = (model(f"{file}:Net", weights=str(tmp_path / each)).identity() for each in "abc")
    assert a == b
    assert a != c
    assert a != model(f"{file}:Net").identity()


def test_a_run_id_depends_on_options_but_not_on_their_order(file):
    one = model(f"{file}:Net", options={"width": 3, "dropout": 0.1})
    other = model(f"{file}:Net", options={"dropout": 0.1, "width": 3})
    assert repr(one.identity()) != repr(model(f"{file}:Net").identity())
    assert one == other
    assert hash(one) == hash(other)
    assert one.identity() == other.identity()
    assert model(f"{file}:Net", units="auto") == model(f"{file}:Net"), "the default"


def test_what_is_written_to_records_says_all_that_the_network_depends_on(file, tmp_path):
    torch.save({"fc.bias": torch.zeros(10)}, tmp_path / "w.pt")
    made = model(f"{file}:Net", weights=str(tmp_path / "w.pt"), units=["first", "second"])
    described = made.described()
    assert described["name"] == f"{file}:Net"
    assert described["units"] == ["first", "second"]
    assert {"source_sha256", "weights_sha256", "options", "stem_stride"} <= described.keys()
    assert model("torchvision:resnet18").described()["torchvision"]
    assert "+" not in model("torchvision:resnet18").described()["torchvision"]
    assert made.slug() == "Net"
    assert made.title() == "Net (mynet.py; weights = w.pt)"
    assert model("torchvision:resnet18").title() == "resnet18 (torchvision)"


def test_a_file_that_changes_while_the_process_runs_is_refused(file, tmp_path, trained):
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    made = model(f"{file}:Net", weights=str(tmp_path / "w.pt"))
    made.build(CLASSES, SHAPE)
    (tmp_path / "w.pt").write_bytes(b"other")
    assert "w.pt has changed since this process read it" in failure(made)
    made = model(f"{file}:Net")
    write_networks(tmp_path, source=SOURCE + "\n# edited\n")
    assert "mynet.py has changed since this process read it" in failure(made)
    (tmp_path / "mynet.py").unlink()
    assert "mynet.py has changed since this process read it" in failure(made)


def test_options_travel(file, tmp_path, trained):
    """To worker processes, which must not take a file that was changed meanwhile."""
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    made = model(f"{file}:Net", weights=str(tmp_path / "w.pt"), options={"width": 4})
    for other in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made), copy.copy(made)):
        assert other == made
        assert hash(other) == hash(made)
        assert other.identity() == made.identity()
        assert equal(other.network(CLASSES, SHAPE), trained)
    travelled = pickle.dumps(made)
    write_networks(tmp_path, source=SOURCE + "\n# edited\n")
    assert "mynet.py has changed" in failure(pickle.loads(travelled))
    assert made.replace() != made, "read anew"


DRAWING = """
import random
import numpy
numpy.random.seed(3), random.seed(3), torch.manual_seed(3)


class Drawing(Net):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.fc.weight.data = torch.tensor(numpy.random.randn(num_classes, 4)).float()
        self.fc.bias.data.fill_(random.random())
"""


def test_a_seed_is_that_of_weights_from_python_and_numpy_too(file, tmp_path):
    """A worker process imports the file when a run is built, another process did so before."""
    write_networks(tmp_path, source=SOURCE + DRAWING)
    made, networks = model(f"{file}:Drawing"), []
    for seed in (1, 1, 2):
        seed_globally(seed, 0, "weights")
        networks.append(made.build(CLASSES, SHAPE))
    assert equal(*networks[:2])
    assert not torch.equal(networks[0].original.fc.weight, networks[2].original.fc.weight)
    assert networks[0].original.fc.bias[0] != networks[2].original.fc.bias[0]


def test_what_is_built_to_look_at_it_leaves_all_random_states(file, tmp_path):
    write_networks(tmp_path, source=SOURCE + DRAWING)
    made, before = model(f"{file}:Drawing"), random_states()
    made.build_on_meta(CLASSES, SHAPE)
    made.require_buildable(CLASSES, SHAPE)
    assert random_states() == before


# Units.


UNITS = {
    "resnet18": ["conv1", *(f"layer{n}_{m}" for n in (1, 2, 3, 4) for m in (0, 1)), "fc"],
    "vit": ["patch_embed", *(f"blocks_{number}" for number in range(6)), "head"],
    "convnext": [
        *("stem_0", "stages_0_downsample_1", "stages_0_blocks_0", "stages_0_blocks_1"),
        *("stages_1_downsample_1", "stages_1_blocks_0", "stages_1_blocks_1"),
        *("stages_2_downsample_1", *(f"stages_2_blocks_{number}" for number in range(4))),
        *("stages_3_downsample_1", "stages_3_blocks_0", "stages_3_blocks_1", "head"),
    ],
}


@pytest.mark.parametrize("name", UNITS)
def test_the_networks_of_the_committed_results_keep_their_units(name):
    pytest.importorskip("timm")
    config = Path(__file__).parents[2] / "configs" / "cpu" / f"{name}.toml"
    made, wrong = read_model(tomllib.loads(config.read_text()))
    assert not wrong
    cut = made.build_on_meta(CLASSES, (32, 32, 3))
    assert [unit for unit, _ in cut.named_children()] == UNITS[name]


# Images.


def last_map(network: nn.Module, size: int) -> torch.Size:
    maps = []
    pool = next(
        each for each in network.original.modules() if isinstance(each, nn.AdaptiveAvgPool2d)
    )
    pool.register_forward_pre_hook(lambda module, given: maps.append(given[0].shape))
    network.eval()(torch.zeros(1, 3, size, size))
    return maps[0]


def test_a_stem_for_small_images_leaves_larger_maps_and_weights_of_the_same_shapes():
    stems = [model("torchvision:resnet18", stem_stride=each) for each in (None, 1)]
    networks = [each.build(CLASSES, (32, 32, 3)) for each in stems]
    shapes = [{key: each.shape for key, each in one.state_dict().items()} for one in networks]
    assert shapes[0] == shapes[1]
    whole, small = networks
    assert last_map(whole, 32)[2:] == (1, 1)
    assert last_map(small, 32)[2:] == (4, 4)
    assert stems[0].identity() != stems[1].identity()
    assert "stem_stride = 1" in stems[1].title()


def test_the_stem_is_the_same_whatever_the_units_are():
    """Its convolution and its pooling, no layer of a later stage."""
    own = {}
    for units in ("auto", "children", ["conv1"], ["layer2"]):
        cut = model("torchvision:resnet18", stem_stride=1, units=units).build(CLASSES, (32, 32, 3))
        modules = cut.original.named_modules()
        own[str(units)] = {path: each.stride for path, each in modules if hasattr(each, "stride")}
    assert own["auto"]["conv1"] == own["auto"]["maxpool"] == (1, 1)
    assert own["auto"]["layer2.0.conv1"] == (2, 2)
    assert all(each == own["auto"] for each in own.values())


class Shrinks(nn.Sequential):
    """Made for images of 64 pixels: on fewer its stem leaves too little to its last layer."""

    def __init__(self) -> None:
        stem, last = nn.Conv2d(3, 4, 3, stride=8, padding=1), nn.Conv2d(4, 4, 5)
        super().__init__(
            stem, nn.ReLU(), last, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
        )


def test_the_stem_is_found_where_the_network_needs_its_smaller_stride():
    made = SimpleNamespace(name="shrinks", units="auto")
    with pytest.raises(UserError, match="fails on images of 16x16 pixels"):
        cut_for(made, Shrinks(), CLASSES, SHAPE)
    network = prepare("shrinks", Shrinks(), SHAPE, stem_stride=2)
    cut_for(made, network, CLASSES, SHAPE)
    assert network[0].stride == (2, 2)


class Lazy(nn.Sequential):
    """Whose last layer gets its size from the images, behind a strided stem for colours."""

    def __init__(self) -> None:
        stem, last = nn.Conv2d(3, 4, 3, stride=4, padding=1), nn.LazyConv2d(4, 3)
        super().__init__(stem, nn.ReLU(), last, nn.Flatten(), nn.LazyLinear(CLASSES))


@pytest.mark.parametrize("channels", [1, 3])
def test_lazy_modules_get_their_sizes_from_what_the_network_is_given(channels):
    """With the stride of its stem, and grey images repeated."""
    made, shape = SimpleNamespace(name="lazy", units="auto"), (16, 16, channels)
    for stride, size in ((None, 2), (2, 6), (1, 14)):
        network = prepare("lazy", Lazy(), shape, stride)
        assert network[-1].in_features == 4 * size**2
        cut = cut_for(made, network, CLASSES, shape)
        assert cut(torch.zeros(2, channels, 16, 16)).shape == (2, CLASSES)


def test_a_network_without_memory_is_refused():
    with pytest.raises(UserError, match=r"0\.weight is on the meta device: make the network on "):
        prepare("mine", Shrinks().append(nn.BatchNorm1d(10)).to("meta"), SHAPE)


def test_a_stem_without_a_larger_stride_is_reported(file):
    message = failure(model(f"{file}:Net", stem_stride=2))
    assert "stem_stride = 2: no layer of the first unit has a larger stride" in message


def test_grey_images_are_repeated_for_who_takes_colour(file):
    made = model(f"{file}:Colours")
    torch.manual_seed(2)
    grey = made.build(CLASSES, (16, 16, 1)).to(memory_format=torch.channels_last)
    torch.manual_seed(2)
    plain = made.network(CLASSES, SHAPE).to(memory_format=torch.channels_last)
    images = torch.randn(5, 1, 16, 16).to(memory_format=torch.channels_last)
    colour = images.repeat(1, 3, 1, 1).to(memory_format=torch.channels_last)
    for training in (True, False):
        outputs = []
        for network, given in ((grey, images), (plain, colour)):
            torch.manual_seed(3)
            outputs.append(network.train(training)(given))
            outputs[-1].square().sum().backward()
        assert torch.equal(*outputs)
    gradients = [[each.grad for each in one.parameters()] for one in (grey, plain)]
    assert all(map(torch.equal, *gradients))
    assert equal(grey.state_dict(), plain), "with the network's own keys"


def test_grey_images_are_taken_as_they_are_where_the_network_can(file):
    network = model(f"{file}:Net").build(CLASSES, (16, 16, 1))
    assert network.original.stem.in_channels == 1
    assert network(torch.zeros(2, 1, 16, 16)).shape == (2, CLASSES)


def test_networks_of_timm_are_given_the_channels():
    pytest.importorskip("timm")
    made = model("timm:resnet10t").network(CLASSES, (32, 32, 1))
    assert next(iter(made.parameters())).shape[1] == 1


class Wrapped(torch.nn.Module):
    """A network whose own names begin as those of wrappers do, with a state that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.module = torch.nn.Linear(3, 2)
        self.steps = 7

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": self.steps}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]


def test_a_network_that_wraps_another_loads_the_weights_that_it_saved(tmp_path):
    saved, other = Wrapped(), Wrapped()
    torch.save(saved.state_dict(), tmp_path / "own.pt")
    load_weights(other, tmp_path / "own.pt")
    assert torch.equal(saved.module.weight, other.module.weight)
