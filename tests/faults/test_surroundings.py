"""Sweeps and commands in difficult surroundings.

Modules of the user with the same names, a missing library, signals, a long folder for temporary files, one CPU, a user
without a home, a read-only run folder.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from live_sweep import SMALL_STUDY, LiveSweep, finish, last_step, states, wait_until_gone
from paths import ROOT, SUPPORT, child_environment
from synthetic_run import realistic_run

from trainable import names

SHORT = ("--seeds", "0", "--arms", "1", "--cpus", "1")
NOBODY = 54321  # id of a user without an account
# Workers of Ray cannot import transformers as long as a file exists.
MISSING = """
import os, sys
class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "transformers":
            raise ModuleNotFoundError("No module named 'transformers'")
if any("default_worker" in word for word in sys.orig_argv) and os.path.exists({mark!r}):
    sys.meta_path.insert(0, Missing)
"""


def test_files_of_the_users_in_the_working_directory_are_not_imported_by_workers(tmp_path: Path) -> None:
    for name in ("trainable", "analysis", "sweeps", "torch", "json"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not the one that is meant')\n")
    with LiveSweep(SMALL_STUDY, tmp_path / "sweep", *SHORT, where=tmp_path) as sweep:
        assert sweep.end() == 0, sweep.printed
    assert set(states(sweep.run).values()) == {names.FINISHED}


def test_a_library_that_workers_lack_ends_the_sweep_and_fails_no_trial(tmp_path: Path) -> None:
    mark = tmp_path / "missing"
    mark.touch()
    (tmp_path / "sitecustomize.py").write_text(MISSING.format(mark=str(mark)))
    path = {"PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT, SUPPORT)))}
    broken = finish(SMALL_STUDY, tmp_path / "sweep", *SHORT, "--run", "mine", environment=path)
    assert broken.driver.returncode == 2, broken.printed
    told = "error: trials cannot run here (ModuleNotFoundError: No module named 'transformers'): mend that, then go on"
    assert told in broken.printed and "Traceback" not in broken.printed
    assert set(states(broken.run).values()) == {names.RUNNING}
    mark.unlink()
    mended = finish(SMALL_STUDY, tmp_path / "sweep", *SHORT, "--run", "mine", environment=path)
    assert mended.driver.returncode == 0, mended.printed
    assert set(states(mended.run).values()) == {names.FINISHED} and len(states(mended.run)) == 2


def test_sigterm_of_a_scheduler_is_taken_like_ctrl_c(tmp_path: Path) -> None:
    with LiveSweep(SMALL_STUDY, tmp_path, *SHORT) as sweep:
        control = sweep.wait_for_trial(names.CONTROL, after_step=20)
        started = sweep.processes()
        sweep.kill(signal.SIGTERM)
        assert sweep.end() == 128 + signal.SIGTERM, sweep.printed
    go_on = f"nothing is lost. Go on with: python {SMALL_STUDY} --resume {sweep.run} --cpus 1 --no-dashboard"
    assert f"SIGTERM: {go_on}" in sweep.printed and f"Interrupted; {go_on}" in sweep.printed
    assert "@ 0x" not in sweep.printed and "Traceback" not in sweep.printed
    assert states(sweep.run)[control] == names.RUNNING and last_step(sweep.run, control) >= 20
    assert (sweep.run / names.SUMMARY_FILE).exists()
    wait_until_gone(started)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_ray_starts_leaves_no_process_and_no_empty_run(tmp_path: Path, number: signal.Signals) -> None:
    with LiveSweep(SMALL_STUDY, tmp_path, *SHORT) as sweep:
        sweep.wait_for(lambda: len(sweep.processes()) > 2, "Ray began to start")
        started = sweep.processes()
        sweep.kill(number)
        assert sweep.end() == 128 + number, sweep.printed
    assert sweep.printed.rstrip().endswith("the same command goes on with what is prepared.")
    assert "@ 0x" not in sweep.printed
    wait_until_gone(started)
    assert not list(sweep.results.glob("*/*"))


def test_a_long_folder_for_temporary_files_and_a_single_cpu_as_a_scheduler_gives_them_stop_no_sweep(
    tmp_path: Path,
) -> None:
    long = tmp_path / ("x" * 92)
    long.mkdir()
    only = min(os.sched_getaffinity(0))
    before = ("taskset", "-c", str(only))
    words = ("--seeds", "0", "--arms", "1")  # without --cpus
    with LiveSweep(SMALL_STUDY, tmp_path, *words, environment={"TMPDIR": str(long)}, before=before) as sweep:
        assert sweep.end() == 0, sweep.printed
    assert json.loads((sweep.run / names.RUN_FILE).read_text())["hardware"]["cpus"] == 1
    assert set(states(sweep.run).values()) == {names.FINISHED}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a command as another user")
def test_a_user_without_name_and_home_can_run_a_sweep(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for folder in list(tmp_path.parents)[:3]:
        folder.chmod(folder.stat().st_mode | 0o055)
    read_all = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")  # Python may lie in root's home
    become = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *read_all)
    nobody = ("env", "-u", "HOME", "-u", "USER", "-u", "LOGNAME", "-u", "BIGRAM_CACHE")
    (tmp_path / "sweep").mkdir(mode=0o777)
    (tmp_path / "sweep").chmod(0o777)
    environment = {"TMPDIR": "/tmp"}
    with LiveSweep(SMALL_STUDY, tmp_path / "sweep", *SHORT, environment=environment, before=become + nobody) as sweep:
        assert sweep.end() == 0, sweep.printed
    assert f"User {NOBODY} has no home folder here: this command takes /tmp/home-of-user-{NOBODY}" in sweep.printed
    assert "Traceback" not in sweep.printed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize(
    ("command", "printed", "told"),
    [
        ("summary", "Best schedules", "Could not make summary.md (Read-only file system): the run is whole"),
        ("schedule_report", "Best schedule", "could not be written (Read-only file system): give --out FOLDER."),
        ("asha_replay", "grace", "could not be written (Read-only file system): give --figure FILE."),
        ("report", "", "report.html could not be written (Read-only file system): give --out FILE."),
        ("curves", "", "could not be written to"),
    ],
)
def test_commands_on_a_read_only_run_print_and_say_that_they_could_not_write(
    tmp_path: Path, command: str, printed: str, told: str
) -> None:
    run = realistic_run(tmp_path / "run")
    read_only = f"mount --bind {run} {run} && mount -o remount,ro,bind {run}"
    shell = f"{read_only} && exec {sys.executable} -m analysis.{command} {run}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", shell], capture_output=True, text=True, env=child_environment()
    )
    assert printed in done.stdout and told in done.stderr, done
    assert "Traceback" not in done.stderr
    assert done.returncode == (0 if printed else 2)


@pytest.mark.parametrize("shadow", ["trainable.py", "json.py", "torch.py"])
def test_a_command_of_analysis_reads_its_own_modules_whatever_lies_in_the_working_directory(
    tmp_path: Path, shadow: str
) -> None:
    (tmp_path / shadow).write_text("raise ImportError('not the one that is meant')\n")
    words = ["-m", "analysis.kfold_table", str(ROOT / "results" / "record" / "kfold_books"), "--format", "csv"]
    ended = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "0.2356" in ended.stdout


@pytest.mark.parametrize(
    ("command", "shadow"),
    [
        ([str(ROOT / "sweeps" / "schedule_search.py"), "--dry-run"], "trainable"),
        ([str(ROOT / "sweeps" / "schedule_search.py"), "--dry-run"], "analysis"),
        (["-m", "analysis.summary", "RUN"], "trainable"),
    ],
)
def test_a_module_with_the_name_of_one_of_ours_that_python_finds_first_is_told_in_one_sentence(
    command: list[str], shadow: str, tmp_path: Path
) -> None:
    (tmp_path / f"{shadow}.py").write_text("")
    environment = {**child_environment(), "PYTHONPATH": str(tmp_path)}
    words = [sys.executable, *command]
    ended = subprocess.run(words, cwd=tmp_path.parent, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: Python finds ") and ended.stderr.count("\n") == 1
    assert ended.stderr.endswith("rename that module, or remove its folder from PYTHONPATH.\n")
