"""Nothing read from a file is run, and nothing named in one leads out of the results folder."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fobench.data.synthetic import open_synthetic
from fobench.errors import UserError
from fobench.experiment.config import load
from fobench.experiment.expand import expand
from fobench.records.experiments import RUN_ID
from tests.test_structure import MODULES

DATASET = open_synthetic("synthetic", 55, 20)
MUST_SAY = {"load": {"torch": "weights_only", "np": "allow_pickle"}}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_IMPORTS = {"pickle", "shelve", "marshal", "dill", "joblib", "yaml"}


@pytest.mark.parametrize("name", MODULES)
def test_no_message_advises_to_delete(name):
    """What cannot be read may be sound, or be all that is left."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert "delete" not in node.value.lower(), f"line {node.lineno}"


@pytest.mark.parametrize("name", MODULES)
def test_no_module_runs_what_it_reads(name):
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom) and names != {"UnpicklingError"}:
                names.add(node.module)
            assert not FORBIDDEN_IMPORTS & names
        if isinstance(node, ast.Call):
            called = node.func
            assert getattr(called, "id", None) not in FORBIDDEN_CALLS
            assert ast.unparse(called) not in {"os.system", "os.popen"}
            if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                option = MUST_SAY.get(called.attr, {}).get(called.value.id)
                said = {word.arg: word.value for word in node.keywords}
                if option == "weights_only":
                    assert said[option].value is True
                if option == "allow_pickle":
                    assert said[option].value is False


def test_both_loaders_are_there_to_be_watched():
    text = "".join(path.read_text() for path in MODULES.values())
    assert "torch.load(" in text
    assert "np.load(" in text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1), seed=st.integers(0, 2**31 - 1))
def test_a_run_id_is_one_plain_name_whatever_the_data_set_is_called(tiny, name, seed):
    experiment = replace(load(tiny), seeds=(seed,), repeats=2)
    for run in expand(experiment, replace(DATASET, name=name)):
        assert RUN_ID.fullmatch(run.id)
        assert Path(run.id).name == run.id
        assert len(run.id) < 200


@pytest.mark.parametrize("name", ["../out", "/out", "..", "a/b", ".hidden", "", "a\nb", "a" * 101])
def test_an_experiment_cannot_leave_the_results_folder(tiny, name):
    with pytest.raises(UserError, match="it names a folder of results"):
        load(tiny, [f"experiment.name={name!r}"])
