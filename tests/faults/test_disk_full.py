"""A full or read-only disk is told in one sentence with a remedy, and files that were written stay whole."""

import dataclasses
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from paths import ROOT, child_environment
from small_corpus import small_config, small_sentences
from small_disk import fill, remount, small_disk
from sweep_specs import new_run, small_sweep

from analysis.results import load
from sweeps.engine.folder import RunFolder
from sweeps.engine.room import RoomWatch, checkpoint_bytes
from sweeps.engine.specs.search import Sweep
from trainable import names
from trainable.config import TrialConfig, flatten, override
from trainable.errors import InputError
from trainable.prepare import Prepared, prepare_run, prepare_runs
from trainable.record.files import MIB, free_bytes, is_disk_full, read_json, require_room, write_json
from trainable.record.ledger import append_row, read_lines
from trainable.record.tensorboard import TensorBoardLog
from trainable.student.checkpoint import RunState, load_checkpoint, save_checkpoint
from trainable.student.run_data import RunData
from trainable.student.train import Report, train

ROW = {names.STEP: 0, names.EVAL_LOSS: 5.0}


def test_the_needed_space_is_compared_with_the_free_space_also_for_a_folder_that_does_not_exist_yet(
    tmp_path: Path,
) -> None:
    require_room(tmp_path / "not" / "yet", 1, "files", "free some space")
    with pytest.raises(InputError, match=r"not/yet has .* MiB free but files need about 1,099,511,627,776 MiB: fr"):
        require_room(tmp_path / "not" / "yet", 2**60, "files", "free some space")


# ---- the cache ---------------------------------------------------------------------------------------------


def larger_corpus(folder: Path) -> TrialConfig:
    """Write a corpus of some 0.6 MB of tokens; return its settings."""
    config = small_config(folder)
    Path(config.corpus.source).write_text("".join(f"{line}\n" for line in small_sentences(30_000)))
    return config


def test_tokens_that_will_not_fit_are_refused_before_they_fill_the_disk(tmp_path: Path) -> None:
    config = larger_corpus(tmp_path)
    with small_disk(tmp_path / "cache", "600k") as cache:
        with pytest.raises(InputError) as told:
            prepare_run(config, cache)
        found = re.search(r"has ([\d.]+) MiB free but the tokens .* need about ([\d.]+) MiB: free", str(told.value))
        assert found is not None, told.value
        assert float(found[2]) > float(found[1]) > 0 and str(cache) in str(told.value)
        assert "BIGRAM_CACHE" in str(told.value)
        assert not list(cache.glob("tokens/.*.tmp")), "an incomplete cache is left"
        needed = float(found[2])
        remount(cache, "size=16m")
        data, _ = prepare_run(config, cache)
        tokens = data.train.stream_N.nbytes + data.eval.stream_N.nbytes
        rows = 30_000 * (4 + 1)  # lengths and flags of the rows
        assert needed * MIB == pytest.approx(2 * (tokens + rows), rel=0.35), "the estimate is off by more than 35 %"
    assert data.train.checksum == prepare_run(config, tmp_path / "elsewhere")[0].train.checksum


@pytest.mark.parametrize("leave", [0, 8192, 40_000])
def test_a_cache_that_fills_up_is_told_with_numbers_and_leaves_no_half_file(tmp_path: Path, leave: int) -> None:
    config = small_config(tmp_path)
    with small_disk(tmp_path / "cache", "400k") as cache:
        filler = fill(cache, leave)
        with pytest.raises(InputError, match=r"MiB (that were|are free|free but).*: free some space, or set"):
            prepare_run(config, cache)
        assert not list(cache.rglob("*.tmp"))
        filler.unlink()
        found = prepare_run(config, cache)[0].train.checksum
    assert found == prepare_run(config, tmp_path / "elsewhere")[0].train.checksum


def test_a_read_only_cache_is_told_with_the_remedy(tmp_path: Path) -> None:
    with small_disk(tmp_path / "cache", "1m") as cache:
        remount(cache, "ro")
        with pytest.raises(InputError, match=r"cannot write .*Read-only file system.*BIGRAM_CACHE"):
            prepare_run(small_config(tmp_path), cache)


# ---- what a trial writes -----------------------------------------------------------------------------------


def test_a_ledger_on_a_full_disk_stays_whole_and_takes_rows_again_once_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        ledger = disk / names.LEDGER_FILE
        for step in range(30):  # so that the next rows cross the end of a page
            append_row(ledger, ROW | {names.STEP: step})
        filler, before = fill(disk), ledger.read_bytes()
        try:
            for step in range(30, 90):
                before = ledger.read_bytes()
                append_row(ledger, ROW | {names.STEP: step})
            pytest.fail("the disk was not full")
        except OSError as error:
            assert is_disk_full(error)  # noqa: PT017
        assert ledger.read_bytes() == before, "half a row is left"
        written = len(read_lines(ledger))
        filler.unlink()
        append_row(ledger, ROW | {names.STEP: written})
        assert [row[names.STEP] for row in read_lines(ledger)] == list(range(written + 1))


def test_a_checkpoint_and_a_state_file_on_a_full_disk_stay_as_they_were(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256k") as disk:
        checkpoint, state = disk / names.CHECKPOINT_FILE, disk / names.STATUS_FILE
        save_checkpoint(checkpoint, "settings", RunState(step=1), model={"w": torch.ones(9000)})
        write_json(state, {"state": "running"})
        fill(disk)
        with pytest.raises(OSError, match="No space left"):
            save_checkpoint(checkpoint, "settings", RunState(step=2), model={"w": torch.zeros(9000)})
        with pytest.raises(OSError, match="No space left"):
            write_json(state, {"state": "failed", "reason": "x" * 5000})
        assert load_checkpoint(checkpoint, "settings")[0].step == 1
        assert read_json(state) == {"state": "running"}
        assert not list(disk.glob(".*.tmp")), "a temporary file is left"


def test_a_full_disk_makes_tensorboards_events_fail_instead_of_waiting_for_ever(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        board = TensorBoardLog(disk, flatten(TrialConfig()), first_step=0)
        fill(disk)
        row = dict.fromkeys(names.REPORT_COLUMNS, 1.0) | {names.STEP: 1}
        with pytest.raises(OSError, match="No space left"):
            deque(map(board.write, [row] * 200))


# ---- a run -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialConfig, Prepared]:
    folder = tmp_path_factory.mktemp("prepared")
    config = small_config(folder)
    return config, prepare_runs(sweep_of(config).configs(), folder / "cache")


def sweep_of(config: TrialConfig) -> Sweep:
    """Make a sweep with these settings: two depths, 4 trials and one confirmation a group, no ASHA."""
    return dataclasses.replace(small_sweep(asha=None), base=config)


def watch(path: Path, prepared: tuple[TrialConfig, Prepared], **changes: Any) -> RoomWatch:
    sweep = sweep_of(override(prepared[0], changes))
    return RoomWatch(new_run(path / "study" / "run", sweep), sweep, prepared[1].vocab_size, slots=2)


def test_the_estimated_size_of_a_checkpoint_is_up_to_20_percent_above_its_real_size(
    tmp_path: Path, prepared: tuple[TrialConfig, Prepared]
) -> None:
    config, data = prepared
    sweep = dataclasses.replace(sweep_of(config), layers=(1,))
    path = tmp_path / names.CHECKPOINT_FILE
    blocks = next(iter(data.blocks.values()))
    with_one_thread(lambda: train(config, RunData(train=blocks[0], eval=blocks[1]), lambda report: None, path))
    assert checkpoint_bytes(sweep, data.vocab_size) == pytest.approx(path.stat().st_size, rel=0.2)
    assert checkpoint_bytes(sweep, data.vocab_size) >= path.stat().st_size


def test_a_results_folder_too_small_for_the_run_is_refused_before_it(
    tmp_path: Path, prepared: tuple[TrialConfig, Prepared]
) -> None:
    with small_disk(tmp_path / "results", "2m") as disk:
        with pytest.raises(InputError) as told:
            watch(disk, prepared).check_before()
        found = re.search(r"has ([\d.]+) MiB free but the check.* need about ([\d.]+) MiB", str(told.value))
        assert found is not None, told.value
        assert float(found[1]) <= 2 < float(found[2]) and "give --results DIR" in str(told.value)
        remount(disk, f"size={float(found[2]) * 1.1 + 1:.0f}m")
        watch(disk, prepared).check_before()


def test_kept_checkpoints_count_in_the_needed_space(tmp_path: Path, prepared: tuple[TrialConfig, Prepared]) -> None:
    few, many = (watch(tmp_path / str(keep), prepared, **{"loop.keep_checkpoint": keep}) for keep in (False, True))
    assert many.needed > few.needed + 10 * few._checkpoint


def test_a_disk_that_fills_up_ends_the_sweep_while_a_checkpoint_still_fits(
    tmp_path: Path, prepared: tuple[TrialConfig, Prepared]
) -> None:
    with small_disk(tmp_path / "results", "64m") as disk:
        watching = watch(disk, prepared)
        assert not watching.stop_all()
        watching.check_after("RESUME")
        fill(disk, leave=watching._checkpoint)
        watching._looked = 0.0
        assert watching.stop_all()
        assert free_bytes(disk) > 0.9 * watching._checkpoint
        with pytest.raises(InputError, match=r"has [\d.]+ MiB free but the next .* need about [\d.]+ MiB: .* RESUME$"):
            watching.check_after("RESUME")


def test_a_read_only_results_folder_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with small_disk(tmp_path / "results", "1m") as disk:
        run = new_run(disk / "study" / "run", small_sweep())
        remount(disk, "ro")
        with pytest.raises(InputError, match=r"results .* cannot be made \(Read-only file system\): give --results"):
            RunFolder.create(disk, "study")
        with pytest.raises(InputError, match=r"cannot be written to: change its permissions or give --results DIR"):
            run.files.check_writable()
        assert run.spec().to_dict() == small_sweep().to_dict(), "a written file cannot be read"


def study(folder: Path, *words: str) -> list[str]:
    config = small_config(folder)
    common = ["--corpus", config.corpus.source, "--train-rows", "400", "--eval-rows", "50", "--tokenizer", "train:512"]
    common += ["--layers", "1", "--num-samples", "2", "--confirm-seeds", "1", "--steps", "60", "--cpus", "1"]
    common += ["--teachers", "uniform", "--no-dashboard"]
    common += ["--set", "tokens.context=32", "loop.batch_blocks=4", "loop.eval_every=10", "loop.checkpoint_every=10"]
    common += ["loop.precision=float32"]
    return [sys.executable, str(ROOT / "sweeps" / "schedule_search.py"), *words, *common]


def wait_for(pattern: str, folder: Path, process: subprocess.Popen[str]) -> None:
    while not list(folder.glob(pattern)):
        assert process.poll() is None, "the sweep ended too early"
        time.sleep(0.02)


def test_a_disk_that_fills_up_in_the_middle_of_a_sweep_loses_nothing(tmp_path: Path) -> None:
    home = child_environment(BIGRAM_CACHE=str(tmp_path / "cache"))
    with small_disk(tmp_path / "results", "64m") as disk:
        words = study(tmp_path, "--results", str(disk))
        driver = subprocess.Popen(words, env=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(f"*/*/trials/*/{names.CHECKPOINT_FILE}", disk, driver)
        filler = fill(disk)
        printed, told = driver.communicate()
        [run] = disk.glob("schedule_search/*")
        assert driver.returncode == 2, printed + told
        assert told.count("error:") == 1 and "Traceback" not in told, told
        assert str(run) in told and "--resume" in told, told
        assert re.search(r"([\d.]+) MiB (are )?free", told), told
        before = load(run).curves
        assert "failed" not in set(load(run).trials["state"])

        filler.unlink()
        done = subprocess.run(
            [*words[:2], "--resume", str(run), "--cpus", "1", "--no-dashboard"],
            env=home,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        after = load(run).curves
        merged = before.merge(after, on=["trial", "step"])
        assert len(merged) == len(before) and (merged.eval_loss_x == merged.eval_loss_y).all()
        with_one_thread(lambda: assert_as_undisturbed(RunFolder.open(run), tmp_path / "cache"))


def with_one_thread(work: Callable[[], None]) -> None:
    """Do the work in one thread, as a trial with one CPU does, for equal bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        work()
    finally:
        torch.set_num_threads(threads)


def assert_as_undisturbed(folder: RunFolder, cache: Path) -> None:
    """Assert that each trial has, at each step, the loss of the same training without Ray and without faults."""
    for plan, state, reports in folder.trials():
        own: list[Report] = []
        train(plan.config, prepare_run(plan.config, cache)[0], own.append)
        found = [(row[names.STEP], row[names.EVAL_LOSS]) for row in reports]
        expected = [(row[names.STEP], row[names.EVAL_LOSS]) for row in own]
        assert found == expected[: len(found)], plan.name
        assert state == names.STOPPED or len(found) == len(expected), plan.name
