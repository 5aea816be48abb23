"""The recipes for clusters: they name the installed Ray, have only known fields, and give commands that work here."""

import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import yaml
from live_sweep import corpus_file, descendants, ledgers, wait_until_gone
from paths import ROOT
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start
from s3_server import s3_server

from analysis.results import load
from trainable import names
from trainable.record.run_record import read_record

FOLDER = ROOT / "sweeps" / "recipes"
DOCKERFILE, SLURM, README = ((FOLDER / name).read_text() for name in ("Dockerfile", "slurm.sh", "README.md"))
RAYJOB: dict[str, Any] = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
RAY_UP: dict[str, Any] = yaml.safe_load((FOLDER / "ray-up.yaml").read_text())
HEAD = RAYJOB["spec"]["rayClusterSpec"]["headGroupSpec"]
WORKERS = RAYJOB["spec"]["rayClusterSpec"]["workerGroupSpecs"]
RUN_OPTIONS = ("--results", "--run")


def fenced_lines() -> list[str]:
    """Lines of the shell commands in the README."""
    return [line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


def our_commands() -> dict[str, str]:
    """{where the command stands: command that runs a study}, for all recipes and their README."""
    submitted = next(line for line in SLURM.splitlines() if line.startswith("python sweeps/")).removesuffix(" &")
    for variable, value in {"results": "/shared/results", "run": "job-7", "head_ip:$port": "10.0.0.1:20007"}.items():
        submitted = submitted.replace(f'"${variable}"', value)
    commands = {"rayjob.yaml": RAYJOB["spec"]["entrypoint"], "slurm.sh": submitted.replace('"$@"', "")}
    for i, line in enumerate(fenced_lines()):
        if "slurm.sh" in line:
            commands[f"README {i}"] = submitted.replace('"$@"', line.partition("slurm.sh")[2])
        elif re.search(r"sweeps/\w+\.py", line):
            commands[f"README {i}"] = line
    return commands


def study_and_words(command: str) -> tuple[Path, list[str]]:
    """(path of the study in this checkout, its arguments) of a command."""
    words = shlex.split(command)
    at = next(i for i, word in enumerate(words) if word.endswith(".py"))
    return ROOT / words[at][words[at].index("sweeps/") :], words[at + 1 :]


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder in place of /shared, with a corpus."""
    rows = pa.array(["a row of text"]).take(pa.array([0] * 1_300_000))
    pq.write_table(pa.table({"text": rows}), tmp_path / "books.parquet")
    return tmp_path


@pytest.mark.parametrize("where", our_commands())
def test_command_names_a_study_of_this_checkout_and_options_that_it_accepts(
    where: str, shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study, words = study_and_words(our_commands()[where])
    assert study.is_file(), study
    assert all(option in words for option in RUN_OPTIONS), words
    there = [word.replace("/shared", str(shared)) for word in words]
    monkeypatch.setenv("BIGRAM_CACHE", str(shared / "cache"))
    monkeypatch.setattr("sweeps.engine.cli.check_address", lambda _: None)  # HEAD in a command stands for an address
    monkeypatch.setattr(sys, "argv", [str(study), *there, "--dry-run"])
    with s3_server(), pytest.raises(SystemExit) as end:
        runpy.run_path(str(study), run_name="__main__")
    assert end.value.code == 0, capsys.readouterr().err


@pytest.mark.parametrize("line", [line for line in fenced_lines() if "sweeps/recipes/" in line])
def test_file_that_a_command_names_exists(line: str) -> None:
    for name in re.findall(r"sweeps/recipes/([\w.-]+)", line):
        assert (FOLDER / name).is_file(), name


def test_every_version_is_that_of_the_installed_ray() -> None:
    assert RAYJOB["spec"]["rayClusterSpec"]["rayVersion"] == ray.__version__
    for text in (DOCKERFILE, SLURM, README, *images()):
        told = re.findall(r"(?:ray(?:\[[\w,]+\])?(?:==|[-:])|Ray |Ray that the recipes name \()(\d+\.\d+\.\d+)", text)
        assert told and set(told) == {ray.__version__}, (text[:60], told)
    assert "FROM rayproject/ray:" in DOCKERFILE and "-gpu" in DOCKERFILE


def images() -> list[str]:
    groups = [HEAD, *WORKERS]
    return [group["template"]["spec"]["containers"][0]["image"] for group in groups] + [RAY_UP["docker"]["image"]]


def test_one_image_serves_all_nodes() -> None:
    assert len(set(images())) == 1 and images()[0] in README


# ---- Kubernetes --------------------------------------------------------------------------------------------------

# https://ray-project.github.io/kuberay/reference/api/ (ray.io/v1): field -> type.
JOB_FIELDS = {
    "entrypoint": str,
    "backoffLimit": int,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "activeDeadlineSeconds": int,
    "submissionMode": str,
    "runtimeEnvYAML": str,
    "rayClusterSpec": dict,
}
CLUSTER_FIELDS = {"rayVersion": str, "headGroupSpec": dict, "workerGroupSpecs": list, "enableInTreeAutoscaling": bool}
HEAD_FIELDS = {"serviceType": str, "rayStartParams": dict, "template": dict}
WORKER_FIELDS = {
    "groupName": str,
    "replicas": int,
    "minReplicas": int,
    "maxReplicas": int,
    "rayStartParams": dict,
    "template": dict,
}


def check_fields(part: dict[str, Any], fields: dict[str, type]) -> None:
    for key, value in part.items():
        assert key in fields, f"KubeRay has no field {key} in this part"
        assert type(value) is fields[key], f"{key} is {value!r}"


def test_rayjob_has_fields_that_kuberay_knows() -> None:
    assert (RAYJOB["apiVersion"], RAYJOB["kind"]) == ("ray.io/v1", "RayJob")
    check_fields(RAYJOB["spec"], JOB_FIELDS)
    check_fields(RAYJOB["spec"]["rayClusterSpec"], CLUSTER_FIELDS)
    check_fields(HEAD, HEAD_FIELDS)
    for group in WORKERS:
        check_fields(group, WORKER_FIELDS)
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_rayjob_starts_ray_with_options_that_ray_has() -> None:
    options = {option for parameter in start.params for option in parameter.opts}
    for group in (HEAD, *WORKERS):
        for key, value in group["rayStartParams"].items():
            assert f"--{key}" in options
            assert isinstance(value, str), "KubeRay accepts only strings"


def test_rayjob_retries_with_a_named_run_and_asks_for_gpus_where_trials_run() -> None:
    assert RAYJOB["spec"]["backoffLimit"] >= 1
    assert "--run" in RAYJOB["spec"]["entrypoint"].split()
    assert HEAD["rayStartParams"]["num-cpus"] == "0"
    for group in WORKERS:
        resources = group["template"]["spec"]["containers"][0]["resources"]
        assert int(resources["limits"]["nvidia.com/gpu"]) >= 1
        assert resources["limits"] == resources["requests"]


def test_rayjob_keeps_results_and_cache_on_a_volume_that_all_pods_mount() -> None:
    _, words = study_and_words(RAYJOB["spec"]["entrypoint"])
    kept = [Path(words[words.index(option) + 1]) for option in ("--results", "--corpus")]
    for group in (HEAD, *WORKERS):
        pod = group["template"]["spec"]
        [container] = pod["containers"]
        claims = {volume["name"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume}
        mounted = [Path(mount["mountPath"]) for mount in container["volumeMounts"] if mount["name"] in claims]
        cache = next(Path(v["value"]) for v in container["env"] if v["name"] == "BIGRAM_CACHE")
        assert all(any(mount in path.parents for mount in mounted) for path in (*kept, cache))


# ---- ray up ------------------------------------------------------------------------------------------------------


def test_ray_up_file_is_accepted_by_the_launcher() -> None:
    config = prepare_config(RAY_UP)
    validate_config(config)
    assert config["head_node_type"] in config["available_node_types"]


def test_ray_up_has_gpus_on_its_workers_and_one_file_system_everywhere() -> None:
    kinds = RAY_UP["available_node_types"]
    workers = [kind for name, kind in kinds.items() if name != RAY_UP["head_node_type"]]
    assert all(kind["resources"]["GPU"] >= 1 and kind["min_workers"] >= 1 for kind in workers)
    assert kinds[RAY_UP["head_node_type"]]["resources"]["CPU"] == 0
    assert "--volume /shared:/shared" in RAY_UP["docker"]["run_options"]
    assert any("mount -t nfs4" in command and "/shared" in command for command in RAY_UP["initialization_commands"])
    for command in RAY_UP["initialization_commands"]:
        subprocess.run(["bash", "-n", "-c", command], check=True)


# ---- SLURM -------------------------------------------------------------------------------------------------------


def directives() -> dict[str, str]:
    pairs = [line.removeprefix("#SBATCH --") for line in SLURM.splitlines() if line.startswith("#SBATCH ")]
    return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}


def test_slurm_script_is_valid_bash_with_directives_before_the_first_command() -> None:
    subprocess.run(["bash", "-n", str(FOLDER / "slurm.sh")], check=True)
    lines = SLURM.splitlines()
    assert lines[0].startswith("#!") and os.access(FOLDER / "slurm.sh", os.X_OK)
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert not [line for line in lines[first:] if line.startswith("#SBATCH")], (
        "SLURM does not read a directive after the first command"
    )
    assert lines[first] == "set -euo pipefail"


def test_slurm_script_asks_for_gpus_and_is_queued_again() -> None:
    asked = directives()
    assert asked["gres"].startswith("gpu:") and int(asked["nodes"]) >= 2 and asked["ntasks-per-node"] == "1"
    assert "requeue" in asked and asked["signal"].startswith("B:USR1@") and asked["open-mode"] == "append"


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_shellcheck_finds_nothing_in_the_slurm_script() -> None:
    subprocess.run(["shellcheck", str(FOLDER / "slurm.sh")], check=True)


STAND_INS = {
    "srun": 'while [[ "$1" == --* ]]; do shift; done; [[ "$1" == hostname ]] && { echo 127.0.0.1; exit; }; exec "$@"',
    "scontrol": '[[ "$1" == show ]] && echo "here" || echo "$@" >> "$ASKED"',
}


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """The environment of a batch job of one node on this machine, with stand-ins for SLURM's commands."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in STAND_INS.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (programs / name).chmod(0o755)
    number = str(os.getpid())
    return {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLURM_JOB_ID": number,
        "SLURM_JOB_NODELIST": "here",
        "SLURM_CPUS_PER_TASK": "2",
        "SLURM_SUBMIT_DIR": str(ROOT),
        "RESULTS": str(tmp_path / "results"),
        "ASKED": str(tmp_path / "asked"),
        "PYTHONUNBUFFERED": "1",
    }


def test_slurm_job_that_runs_out_of_time_is_queued_again_and_goes_on(job: dict[str, str], tmp_path: Path) -> None:
    words = ["--corpus", str(corpus_file(tmp_path)), "--smoke-test", "--train-rows", "400", "--eval-rows", "50"]
    words += ["--set", "loop.eval_every=10", "loop.checkpoint_every=10", "--steps", "60", "--gpus-per-trial", "0"]
    words += ["--teachers", "uniform"]
    run = tmp_path / "results" / "schedule_search" / f"job-{job['SLURM_JOB_ID']}"

    def submit() -> subprocess.Popen[str]:
        script = ["bash", str(FOLDER / "slurm.sh"), *words]
        return subprocess.Popen(script, env=job, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    first = submit()
    try:
        for line in first.stdout or ():
            if line.startswith("first report"):
                break
        processes = descendants(first.pid)
        first.send_signal(signal.SIGUSR1)
        first.wait()
        wait_until_gone(processes)
        assert (tmp_path / "asked").read_text() == f"requeue {job['SLURM_JOB_ID']}\n"
        begun = ledgers(run)
        assert begun and not read_record(run).complete

        second = submit()
        printed, _ = second.communicate(timeout=480)
        assert second.returncode == 0, printed
        assert f"Run folder: {run}" in printed
        assert set(load(run).trials["state"]) <= {names.FINISHED, names.STOPPED}
        assert all(ledgers(run)[name].startswith(rows) for name, rows in begun.items()), "a trial began again at step 0"
    finally:
        first.kill()
