"""Files with a flipped bit, a lost end or zeros: each is named, and made again or refused.

Damage gives no wrong number: a damaged file reads as before the damage, or an error names it.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from pandas.testing import assert_frame_equal
from paths import ROOT
from small_corpus import small_config
from sweep_specs import new_run, small_sweep
from synthetic_run import realistic_run

from analysis.results import Results, load, write
from analysis.table_file import read_table
from sweeps.engine.failures import drop_unusable_checkpoints
from sweeps.engine.folder import RunFolder
from sweeps.engine.order.asha import GroupAsha
from sweeps.engine.specs.asha_spec import AshaSpec
from sweeps.engine.specs.space import points
from trainable import names
from trainable.config import TrialConfig
from trainable.errors import InputError
from trainable.plan import TrialPlan
from trainable.prepare import prepare_run
from trainable.record.ledger import append_row, read_lines
from trainable.record.run_files import RunFiles
from trainable.student.run_data import RunData
from trainable.student.train import Report, train

RECORD = ROOT / "results" / "record"
CONTROL = "none-L1-s0"


def flip(content: bytes, where: int, bit: int = 0) -> bytes:
    return content[:where] + bytes([content[where] ^ (1 << bit)]) + content[where + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "head flipped": lambda content: flip(content, 0),
    "body flipped": lambda content: flip(content, len(content) // 2),
    "tail flipped": lambda content: flip(content, len(content) - 2),
    "end lost": lambda content: content[: len(content) * 2 // 3],
    "emptied": lambda content: b"",
    "sector of zeros": lambda content: content[: len(content) // 3] + bytes(64) + content[len(content) // 3 + 64 :],
}


def damage(path: Path, how: str) -> None:
    """Write a fault into a file; where zeros would only replace zeros, write bytes of ones instead."""
    content = path.read_bytes()
    faulty = DAMAGE[how](content)
    path.write_bytes(faulty if faulty != content else faulty.replace(bytes(64), b"\xff" * 64, 1))
    assert path.read_bytes() != content


def same(found: Results, expected: Results) -> bool:
    try:
        for one, other in zip(found, expected, strict=True):
            assert_frame_equal(one, other, check_exact=True)
    except AssertionError:
        return False
    return True


# ---- the files of a run: they cannot be made again, so a damaged one is refused -----------------------------------


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return realistic_run(tmp_path_factory.mktemp("whole") / "run", trials_per_depth=3)


@pytest.fixture(scope="module")
def expected(whole_run: Path) -> Results:
    return load(whole_run)


@pytest.fixture
def run(whole_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_run, tmp_path / "run"))


STATE_FILES = [
    names.RUN_FILE,
    *(f"trials/{CONTROL}/{name}" for name in (names.TRIAL_FILE, names.STATUS_FILE)),
]


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("file", STATE_FILES)
def test_damaged_state_is_refused_by_name_with_a_remedy(run: Path, file: str, how: str) -> None:
    damage(run / file, how)
    with pytest.raises(InputError, match=rf"{file} is damaged .*: restore it from a copy, or (start a new|delete the)"):
        RunFolder.open(run).record() if file == names.RUN_FILE else load(run)
    with pytest.raises(InputError, match=f"{file} is damaged"):
        load(run)


@pytest.mark.parametrize("how", [how for how in DAMAGE if how not in ("end lost", "emptied")])
def test_a_damaged_ledger_is_refused_by_name_and_line(run: Path, how: str) -> None:
    damage(run / "trials" / CONTROL / names.LEDGER_FILE, how)
    with pytest.raises(InputError, match=rf"{CONTROL}/metrics.jsonl is damaged \(line \d+: .*--resume"):
        load(run)


def test_a_flipped_digit_is_refused_although_the_line_is_still_json(run: Path) -> None:
    path = run / "trials" / CONTROL / names.LEDGER_FILE
    content = path.read_bytes()
    digit = content.index(b'"eval_loss": ') + len(b'"eval_loss": ')
    path.write_bytes(flip(content, digit))
    assert isinstance(json.loads(path.read_bytes().splitlines()[0])["eval_loss"], float)
    with pytest.raises(InputError, match=r"metrics\.jsonl is damaged \(line 1: "):
        load(run)


def every_flip(path: Path, stride: int) -> Iterator[tuple[int, bytes]]:
    content = path.read_bytes()
    for where in range(0, len(content), stride):
        yield where, flip(content, where, where % 8)
    path.write_bytes(content)


@pytest.mark.parametrize(("file", "stride"), [(names.TRIAL_FILE, 7), (names.STATUS_FILE, 1), (names.LEDGER_FILE, 11)])
def test_no_flip_in_the_files_of_a_trial_gives_another_number(run: Path, file: str, stride: int) -> None:
    alone = run.parent / "alone"
    shutil.copytree(run / "trials" / CONTROL, alone / "trials" / CONTROL)
    shutil.copy(run / names.RUN_FILE, alone)
    before = load(alone)
    for where, content in every_flip(alone / "trials" / CONTROL / file, stride):
        (alone / "trials" / CONTROL / file).write_bytes(content)
        with suppress(InputError):
            assert same(load(alone), before), f"byte {where} of {file}"
    assert same(load(alone), before), "the restored file is refused"


def test_a_ledger_cut_at_the_end_of_a_line_is_refused_because_its_trial_ended_later(tmp_path: Path) -> None:
    sweep = small_sweep()
    folder = new_run(tmp_path / "study" / "run", sweep)
    plan = TrialPlan(name=CONTROL, role=names.CONTROL, control=CONTROL, config=sweep.base)
    folder.open_trial(plan)
    ledger = folder.trial(CONTROL) / names.LEDGER_FILE
    for step in (0, 10, 20, 30, 40):
        append_row(ledger, dict.fromkeys(names.REPORT_COLUMNS, 1.0) | {names.STEP: step})
    folder.close_trial(plan, names.FINISHED)
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:3]))
    message = r"metrics.jsonl is damaged \(it ends at step 20, its trial ended at step 40\): restore it .*, or delete"
    with pytest.raises(InputError, match=message):
        load(folder.path)
    with pytest.raises(InputError, match=message):
        folder.trials()


@pytest.mark.parametrize("how", ["head flipped", "body flipped", "tail flipped", "sector of zeros"])
def test_damaged_rungs_of_asha_are_refused_by_line(tmp_path: Path, how: str) -> None:
    journal = tmp_path / names.RUNGS_FILE
    scheduler = GroupAsha(AshaSpec(grace_period=20), 160, RunFiles(tmp_path))
    group = small_sweep().groups[2]
    for number, point in enumerate(points(group.arm.space)[:9]):
        scheduler.judge(group.search_plan(point), 20, number / 7)
    damage(journal, how)
    with pytest.raises(InputError, match=r"asha\.jsonl is damaged \(line \d+: .*\): restore it .*, or delete it"):
        GroupAsha(AshaSpec(grace_period=20), 160, RunFiles(tmp_path))


# ---- tables: made again from the ledgers --------------------------------------------------------------------------


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("table", [names.TRIALS_TABLE, names.CURVES_TABLE])
def test_damaged_tables_are_made_again_from_the_ledgers(run: Path, expected: Results, table: str, how: str) -> None:
    write(run)
    whole = (run / table).read_bytes()
    damage(run / table, how)
    assert same(load(run), expected)
    write(run)
    assert (run / table).read_bytes() == whole


@pytest.mark.parametrize("how", ["tail flipped", "end lost", "emptied", "sector of zeros"])
@pytest.mark.parametrize("table", [names.TRIALS_TABLE, names.CURVES_TABLE])
def test_damaged_tables_without_ledgers_are_refused_by_name(run: Path, table: str, how: str) -> None:
    write(run)
    shutil.rmtree(run / "trials")
    damage(run / table, how)
    with pytest.raises(InputError, match=rf"{table} is damaged .*: restore it from a copy"):
        load(run)


@pytest.mark.parametrize("table", [names.TRIALS_TABLE, names.CURVES_TABLE])
def test_no_flip_in_a_table_gives_another_number(run: Path, table: str) -> None:
    write(run)
    before, path = read_table(run / table), run / table
    size = path.stat().st_size
    for where, content in every_flip(path, stride=max(1, size // 100)):
        path.write_bytes(content)
        with suppress(InputError):
            assert_frame_equal(read_table(path), before, check_exact=True, obj=f"byte {where} of {table}")
    assert_frame_equal(read_table(path), before, check_exact=True, obj="the restored table")


def test_a_table_with_two_swapped_column_names_is_refused(tmp_path: Path) -> None:
    """Two swapped column names are found, although the page checksums of parquet, which leave out names, match."""
    run = realistic_run(tmp_path / "run", trials_per_depth=3)
    write(run)
    path = run / names.CURVES_TABLE
    table = pq.read_table(path)
    other = {names.EVAL_LOSS: names.TRAIN_LOSS, names.TRAIN_LOSS: names.EVAL_LOSS}
    swapped = table.rename_columns([other.get(name, name) for name in table.column_names])
    pq.write_table(swapped.replace_schema_metadata(table.schema.metadata), path, write_page_checksum=True)
    pd.read_parquet(path, page_checksum_verification=True)
    with pytest.raises(InputError, match="its checksum does not match"):
        read_table(path)


@pytest.mark.parametrize("study", sorted(path.parent.name for path in RECORD.glob("*/trials.parquet")))
def test_tables_of_the_record_are_still_read(study: str) -> None:
    trials, curves = load(RECORD / study)
    assert len(trials) and len(curves)


# ---- caches: made again --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialConfig, Path, RunData]:
    """Return (settings, folder of a whole cache, prepared data); packing `as_published` makes all kinds of files."""
    folder = tmp_path_factory.mktemp("prepared")
    config = small_config(folder, {"teacher.schedule": "linear", "teacher.steps": 10, "tokens.packing": "as_published"})
    return config, folder / "cache", prepare_run(config, folder / "cache")[0]


CACHED = [
    "tokens/*/tokens.bin",
    "tokens/*/lengths.bin",
    "tokens/*/row_flags.bin",
    "tokens/*/manifest.json",
    "tokenizers/*/tokenizer.json",
    "tokenizers/*/manifest.json",
    "tables/*/table.bin",
    "tables/*/manifest.json",
]


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("pattern", CACHED)
def test_a_damaged_cache_is_named_and_made_again(
    prepared: tuple[TrialConfig, Path, RunData],
    tmp_path: Path,
    pattern: str,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config, cache, whole = prepared
    copy = Path(shutil.copytree(cache, tmp_path / "cache"))
    path = sorted(copy.glob(pattern))[0]
    damage(path, how)
    found, _ = prepare_run(config, copy)
    assert f"{path} is damaged" in caplog.text and "It is built again now." in caplog.text
    assert whole.table is not None and found.table is not None and found.table.checksum == whole.table.checksum
    for one, other in ((found.train, whole.train), (found.eval, whole.eval)):
        assert (one.checksum, one.eos_id, one.pad_id, one.vocab_size) == (
            *(other.checksum, other.eos_id, other.pad_id, other.vocab_size),
        )
        assert np.array_equal(one.ids_BxT, other.ids_BxT) and np.array_equal(one.lengths_B, other.lengths_B)
    assert path.read_bytes() == next(cache.glob(str(path.relative_to(copy)))).read_bytes()


def test_a_flipped_number_of_a_manifest_is_found(prepared: tuple[TrialConfig, Path, RunData], tmp_path: Path) -> None:
    """A changed vocabulary size in a manifest, which would give another model, is found and the cache built again."""
    config, cache, whole = prepared
    copy = Path(shutil.copytree(cache, tmp_path / "cache"))
    for path in copy.glob("tokens/*/manifest.json"):
        text = path.read_text()
        path.write_text(text.replace(f'"vocab_size": {whole.train.vocab_size}', '"vocab_size": 999'))
        assert path.read_text() != text
    assert prepare_run(config, copy)[0].train.vocab_size == whole.train.vocab_size


# ---- checkpoints: trained again --------------------------------------------------------------------------------------

TIMES = (names.TOKENS_PER_SECOND, names.TRAIN_SECONDS, names.EVAL_SECONDS, names.PEAK_MEMORY_MIB, names.TIMESTAMP)


class Killed(BaseException):
    """Exception that stands for the death of the driver."""


def reports_of(config: TrialConfig, data: RunData, checkpoint: Path, die_at: int = -1) -> list[Report]:
    """Train and return the reports without times; die before the report of step `die_at` is kept."""
    rows: list[Report] = []

    def hear(report: Report) -> None:
        if report[names.STEP] == die_at:
            raise Killed
        rows.append({key: repr(value) for key, value in report.items() if key not in TIMES})

    try:
        train(config, data, hear, checkpoint)
    except Killed:
        assert die_at >= 0
    return rows


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("how", ["body flipped", "tail flipped", "end lost"])
def test_a_damaged_checkpoint_costs_its_steps_and_changes_no_number(
    prepared: tuple[TrialConfig, Path, RunData], tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    config, _, data = prepared
    undisturbed = reports_of(config, data, tmp_path / "other.pt")
    path = tmp_path / names.CHECKPOINT_FILE
    reports_of(config, data, path, die_at=15)
    damage(path, how)
    assert reports_of(config, data, path) == undisturbed
    assert f"checkpoint {path} is damaged" in caplog.text and "again from step 0" in caplog.text


def unfinished_trial(config: TrialConfig, data: RunData, folder: Path) -> tuple[RunFolder, Path]:
    """Make a run whose control died after step 10; return (run, checkpoint of the control)."""
    run = new_run(folder, small_sweep())
    run.open_trial(TrialPlan(name=CONTROL, role=names.CONTROL, control=CONTROL, config=config))
    checkpoint = run.trial(CONTROL) / names.CHECKPOINT_FILE
    for row in reports_of(config, data, checkpoint, die_at=15):
        numbers = {key: float(value) for key, value in row.items()} | {names.STEP: int(row[names.STEP])}
        append_row(run.trial(CONTROL) / names.LEDGER_FILE, numbers)
    return run, checkpoint


@pytest.mark.usefixtures("one_thread")
def test_a_resumed_run_says_which_checkpoint_is_damaged_and_what_it_does(
    prepared: tuple[TrialConfig, Path, RunData], tmp_path: Path
) -> None:
    run, checkpoint = unfinished_trial(prepared[0], prepared[2], tmp_path / "run")
    said: list[str] = []
    drop_unusable_checkpoints(run, said.append)
    assert said == [] and checkpoint.exists(), "a whole checkpoint is kept"
    damage(checkpoint, "body flipped")
    drop_unusable_checkpoints(run, said.append)
    [line] = said
    assert line.endswith(f"is damaged (its checksum does not match): trial {CONTROL} is trained again from step 0.")
    assert str(checkpoint) in line and not checkpoint.exists()


@pytest.mark.usefixtures("one_thread")
def test_a_checkpoint_ahead_of_a_ledger_that_lost_rows_is_not_used(
    prepared: tuple[TrialConfig, Path, RunData], tmp_path: Path
) -> None:
    run, checkpoint = unfinished_trial(prepared[0], prepared[2], tmp_path / "run")
    ledger = run.trial(CONTROL) / names.LEDGER_FILE
    rows = read_lines(ledger)
    ledger.unlink()
    append_row(ledger, rows[0])
    said: list[str] = []
    drop_unusable_checkpoints(run, said.append)
    assert "metrics.jsonl has lost step 5" in said[0] and not checkpoint.exists()


def sums(tree: Any) -> Any:
    """Return the entries of a JSON object without its checksum."""
    return {key: value for key, value in tree.items() if key != "checksum"}


@pytest.mark.parametrize("file", STATE_FILES)
def test_state_without_its_checksum_is_refused(run: Path, file: str) -> None:
    tree = json.loads((run / file).read_text())
    (run / file).write_text(json.dumps(sums(tree)))
    with pytest.raises(InputError, match=f"{file} is damaged"):
        load(run)
