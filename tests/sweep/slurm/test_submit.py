"""`fobench submit`, with commands that stand in for Slurm's."""

import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest

from tests.cli.test_commands import imported_by


@pytest.fixture
def seeds(tiny):
    """The tiny experiment with three seeds."""
    tiny.write_text(tiny.read_text().replace('"tiny"', '"tiny"\nseeds = [0, 4, 9]', 1))
    return tiny


@pytest.fixture
def slurm(slurm):
    slurm.answer("sbatch", "12\n")
    return slurm


def name_of(slurm) -> str:
    """That of the job that was submitted."""
    (line,) = [line for line in slurm.script.splitlines() if "--job-name" in line]
    return line.partition("=")[2]


def arguments(script: str) -> list[str]:
    """The command of a script, as bash splits it."""
    command = script.partition("train=(\n")[2].partition("\n)\n")[0]
    return shlex.split(command)


def test_it_submits_an_element_a_seed_and_says_where_they_are(fobench, seeds, slurm, tmp_path):
    ran = fobench("submit", seeds, "--device", "cpu", "--", "--time=1:00", "--comment", "a b")
    assert ran.exit_code == 0, ran.output
    assert (
        f"""\
Submitted job 12: 3 of 3 seeds, an element each
logs:   {tmp_path}/results/tiny/slurm/12_*.log
follow: squeue --name={name_of(slurm)}
"""
        in ran.output
    )
    assert slurm.asked[-1] == "sbatch --parsable --time=1:00 --comment a b"
    assert "#SBATCH --array=1-3\n" in slurm.script
    assert arguments(slurm.script) == [
        *(sys.executable, "-P", "-m", "fobench", "run", str(seeds)),
        # Also the folder that a variable names: jobs may have none of the shell's.
        *(f"--results={tmp_path}/results", f"--data-root={os.environ['FOBENCH_DATA']}"),
        *("--device=cpu", "--on=slurm", "--shard=$SLURM_ARRAY_TASK_ID/3"),
    ]
    # There before an element writes its log, or asks what belongs to the experiment.
    assert (tmp_path / "results" / "tiny" / "slurm").is_dir()
    listed = json.loads((tmp_path / "results" / "tiny" / "experiment.json").read_text())
    assert len(listed["runs"]) == 12


def test_it_hands_on_the_options_of_run(fobench, seeds, slurm, tmp_path):
    words = ("--set", "train.lr=0.2", "--set", "data.test_size=10")
    chosen = ("--only", "*baseline*", "--only", "t0.30")
    more = (
        "--results",
        "o u t",
        "--data-root",
        "d",
        "--keep-checkpoints",
        "--untimed",
        "--jobs",
        "2",
    )
    assert fobench("submit", seeds, *words, *chosen, *more).exit_code == 0
    assert arguments(slurm.script)[6:-2] == [
        *("--set=train.lr=0.2", "--set=data.test_size=10", "--only=*baseline*", "--only=t0.30"),
        *(f"--results={tmp_path}/o u t", f"--data-root={tmp_path}/d", "--device=auto"),
        *("--keep-checkpoints", "--untimed", "--jobs=2"),
    ]
    assert "--exclusive" not in slurm.script


def test_it_leaves_out_what_has_ended_or_is_under_way(
    fobench, seeds, slurm, tmp_path, tiny_results, monkeypatch
):
    (tmp_path / "results").mkdir()
    shutil.copytree(tiny_results, tmp_path / "results" / "tiny")  # seed 0
    assert "2 of 3 seeds" in fobench("submit", seeds).output
    assert "#SBATCH --array=2-3\n" in slurm.script
    slurm.answer("squeue", "12|2|RUNNING||None\n12|3|PENDING|n2|Resources\n")
    ran = fobench("submit", seeds)
    assert ran.exit_code == 0
    assert "tiny: seed 4 is under way, job 12_2, running\n" in ran.output
    assert "tiny: seed 9 is under way, job 12_3, pending (Resources, node n2)\n" in ran.output
    assert "tiny: nothing to submit, each seed with something to do is under way\n" in ran.output
    asked = [line for line in slurm.asked if line.startswith("squeue")]
    assert all(f"-n {name_of(slurm)} " in line for line in asked)
    assert len([line for line in slurm.asked if line.startswith("sbatch")]) == 1


def test_when_all_runs_have_ended_nothing_is_submitted(
    fobench, tiny, slurm, tmp_path, tiny_results
):
    shutil.copytree(tiny_results, tmp_path / "results" / "tiny")
    ran = fobench("submit", tiny)
    assert ran.exit_code == 0
    assert ran.output.endswith("tiny: nothing to submit, 0 of 4 runs to do\n")
    assert not [line for line in slurm.asked if line.startswith("sbatch")]


def test_each_experiment_is_a_job_that_is_found_again(fobench, seeds, slurm, tmp_path):
    """Also if it is submitted again together with others."""
    other = tmp_path / "other.toml"
    other.write_text(seeds.read_text().replace('"tiny"', '"other"'))
    fobench("submit", seeds)
    name = name_of(slurm)
    fobench("submit", other, seeds)
    assert name_of(slurm) == name
    asked = [line.split(" -n ")[1].split()[0] for line in slurm.asked if "squeue" in line]
    assert asked[0] == asked[2] == name != asked[1]
    fobench("submit", seeds, "--results", "elsewhere")
    assert name_of(slurm) != name


@pytest.mark.parametrize("edit", ["train.lr=0.2", "experiment.seeds=[9, 4, 0]"])
def test_an_edited_config_waits_for_what_is_under_way(fobench, seeds, slurm, tmp_path, edit):
    fobench("submit", seeds)
    slurm.answer("squeue", "12|2|RUNNING||None\n")
    before = (tmp_path / "results" / "tiny" / "experiment.json").read_text()
    ran = fobench("submit", seeds, "--set", edit)
    assert ran.exit_code == 2
    assert "tiny: its config or data set has changed since job 12 was submitted" in ran.output
    assert (tmp_path / "results" / "tiny" / "experiment.json").read_text() == before


def test_an_element_refuses_a_config_that_was_edited(fobench, tiny, slurm, monkeypatch):
    """Even the only one, whose share is the whole."""
    fobench("submit", tiny)
    slurm.answer("squeue", "UNLIMITED\n")
    variables = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURMD_NODENAME")
    for name, value in zip(variables, ("12", "12", "1", "n1"), strict=True):
        monkeypatch.setenv(name, value)
    words = ("run", tiny, "--on", "slurm", "--shard", "1/1", "--device", "cpu")
    ran = fobench(*words, "--set", "train.lr=0.2")
    assert ran.exit_code == 2
    assert "experiment.json lists other runs" in ran.output
    assert "jobs of Slurm: submit the edited config again" in ran.output


def test_who_waits_for_a_lost_node_is_freed(fobench, seeds, slurm, tmp_path, monkeypatch):
    fobench("submit", seeds)
    slurm.answer("squeue", "12|2|PENDING|n2|ReqNodeNotAvail\n12|3|PENDING|n3|Resources\n")
    slurm.answer("sinfo", "down*\n")
    monkeypatch.setattr(
        "fobench.sweep.slurm.submission.node_of", lambda plan, seed: {4: "n2"}.get(seed)
    )
    ran = fobench("submit", seeds)
    assert "tiny: job 12_2 waited for node n2, which is down: it can start on any" in ran.output
    # The other asks for a node for another reason.
    changed = [line for line in slurm.asked if line.startswith("scontrol")]
    assert changed == ["scontrol update JobId=12_2 ReqNodeList="]


def test_a_dry_run_prints_the_script_alone(tiny, slurm, tmp_path):
    words = ("submit", str(tiny), "--dry-run", "--results", str(tmp_path / "r"), "--", "--time=9")
    ran = subprocess.run(
        [sys.executable, "-m", "fobench", *words], capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("#!/bin/bash\n")
    assert ran.stdout.endswith('exec "${train[@]}"\n')
    assert not slurm.asked
    assert not (tmp_path / "r").exists()


def test_it_needs_no_torch(tiny, tmp_path):
    results = str(tmp_path / "r")
    assert not imported_by("submit", str(tiny), "--dry-run", "--results", results) & {
        *("torch", "pandas", "matplotlib")
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--array=1-3"], "--array=1-3: `fobench submit` itself gives sbatch"),
        (["-Jmine"], "a name by which the job is found again; leave it out"),
        (["-o", "log"], "a log an element"),
        (["-W"], "-W: `fobench submit` does not wait for jobs to end; leave it out"),
    ],
)
def test_options_that_it_gives_itself_are_mistakes(fobench, tiny, slurm, options, message):
    ran = fobench("submit", tiny, "--", *options)
    assert ran.exit_code == 2
    assert message in ran.output


def test_what_sbatch_refuses_is_a_message(fobench, tiny, slurm):
    slurm.refuse("sbatch", "sbatch: error: invalid partition specified: gpus\n")
    ran = fobench("submit", tiny)
    assert ran.exit_code == 2
    assert "Error: sbatch failed: sbatch: error: invalid partition specified: gpus\n" in ran.output
    slurm.refuse("sbatch", "sbatch: error: Invalid job array specification\n")
    assert "has to stay below the MaxArraySize" in fobench("submit", tiny).output


def test_what_submits_nothing_is_not_taken_for_a_job(fobench, tiny, slurm):
    slurm.answer("sbatch", "slurm-wlm 22.05.8\n")
    ran = fobench("submit", tiny, "--", "--version")
    assert ran.exit_code == 2
    assert "sbatch names no job but 'slurm-wlm 22.05.8': leave out options" in ran.output


def test_a_path_that_is_no_text_arrives_as_it_is(fobench, seeds, slurm, tmp_path):
    config = tmp_path / "by\udcffte.toml"
    seeds.rename(config)
    assert fobench("submit", config).exit_code == 0
    assert b"by\xffte.toml" in (slurm.folder / "script").read_bytes()


def test_without_slurm_there_is_a_message(fobench, tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = fobench("submit", tiny)
    assert ran.exit_code == 2
    assert "squeue is not found: give this command on a machine from which jobs" in ran.output


def test_several_runs_and_several_processes_are_not_for_one_job(fobench, tiny, slurm):
    ran = fobench("submit", tiny, "--jobs", "2", "--processes", "2")
    assert ran.exit_code == 2
    assert "give one of them" in ran.output
