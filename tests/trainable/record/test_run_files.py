"""A run in a store: each process works in its own copy, sends the files that it changed, fetches those it needs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from s3_server import BUCKET, s3_server
from sweep_specs import run_record, small_sweep

from sweeps.engine.cli import USAGE_ERROR, main
from sweeps.engine.folder import RunFolder
from sweeps.engine.specs.pairs import control_plan
from sweeps.schedule_search import SearchOptions, schedule_search
from trainable import names
from trainable.config import override
from trainable.errors import DamagedFile, InputError
from trainable.plan import TrialPlan
from trainable.record.files import read_json, write_json
from trainable.record.ledger import append_row, read_reports
from trainable.record.run_files import RunFiles, StoredRunFiles, run_files
from trainable.record.store import Store
from trainable.text.corpus import open_corpus

SWEEP = small_sweep()
LEDGER = f"{names.TRIALS_FOLDER}/a/{names.LEDGER_FILE}"


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[dict[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture
def uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URI of a run that only this test uses."""
    monkeypatch.setenv("BIGRAM_CACHE", str(tmp_path / "cache"))
    return f"s3://{BUCKET}/{request.node.name}/study/run"


def in_store(uri: str) -> set[str]:
    return set(Store(uri).list())


def report(step: int, loss: float) -> dict[str, float]:
    return {names.STEP: step, names.EVAL_LOSS: loss}


# --- files ---


def test_a_ledger_that_grows_in_one_process_is_read_in_another(uri: str) -> None:
    writer, reader = StoredRunFiles(uri), StoredRunFiles(uri)
    for step in (0, 10):
        writer.append_row(LEDGER, report(step, 5.0))
        assert read_reports(reader.fetched(LEDGER))[-1][names.STEP] == step


def test_another_process_continues_the_ledger_of_the_first(uri: str) -> None:
    first, second = StoredRunFiles(uri), StoredRunFiles(uri)
    first.append_row(LEDGER, report(0, 5.0))
    second.fetched(names.TRIALS_FOLDER)
    second.append_row(LEDGER, report(10, 4.0))
    assert [row[names.STEP] for row in read_reports(first.fetched(LEDGER))] == [0, 10]


def test_only_changed_files_are_sent_and_only_new_files_are_fetched(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    got: list[str] = []
    put, get = Store.put, Store.get
    monkeypatch.setattr(Store, "put", lambda self, path, name: (sent.append(name), put(self, path, name)))
    monkeypatch.setattr(Store, "get", lambda self, name, *rest: (got.append(name), get(self, name, *rest)))
    files, other = StoredRunFiles(uri), StoredRunFiles(uri)
    with files.writing():
        write_json(files.path / names.RUN_FILE, {"a": 1})
        append_row(files.path / LEDGER, report(0, 5.0))
    files.publish()
    assert sorted(sent) == [names.RUN_FILE, LEDGER]
    other.fetch_records()
    other.fetch_records()
    assert sorted(got) == [names.RUN_FILE, LEDGER]
    other.publish()
    assert len(sent) == 2, "fetched files are not sent back"
    files.append_row(LEDGER, report(10, 4.0))
    assert sent[2:] == [LEDGER]
    other.fetch_records()
    assert got[2:] == [LEDGER]


def test_neither_half_written_files_nor_files_of_tune_are_sent(uri: str) -> None:
    files = StoredRunFiles(uri)
    tunes = f"{names.TUNE_FOLDER}/attempt-1/state"
    with files.writing():
        for name in (".half.tmp", tunes, "trials/a/.checkpoint.pt.1234.tmp", "figures/x"):
            (files.path / name).parent.mkdir(parents=True, exist_ok=True)
            (files.path / name).write_text("x")
        (files.path / "optuna.journal.lock").symlink_to("optuna.journal")
    assert in_store(uri) == {"figures/x"}


def test_records_are_fetched_without_checkpoints_and_events(uri: str) -> None:
    files, other = StoredRunFiles(uri), StoredRunFiles(uri)
    inside = [names.TRIAL_FILE, names.LEDGER_FILE, names.STATUS_FILE, names.CHECKPOINT_FILE, "events.out.tfevents.1"]
    with files.writing():
        for name in [
            names.RUN_FILE,
            names.RUNGS_FILE,
            names.RESTARTS_FILE,
            "figures/a.png",
            *(f"trials/a/{name}" for name in inside),
        ]:
            (files.path / name).parent.mkdir(parents=True, exist_ok=True)
            (files.path / name).write_text(name)
    other.fetch_records()
    found = {path.relative_to(other.path).as_posix() for path in other.path.rglob("*") if path.is_file()}
    assert found == {
        names.RUN_FILE,
        names.RUNGS_FILE,
        names.RESTARTS_FILE,
        *(f"trials/a/{name}" for name in inside[:3]),
    }
    assert other.trials_with(names.CHECKPOINT_FILE) == {"a"}
    assert other.has(f"trials/a/{names.CHECKPOINT_FILE}") and not other.has("trials/a/absent")


def test_messages_name_the_uri_and_not_the_copy(uri: str) -> None:
    files = StoredRunFiles(uri)
    assert files.shown(f"line 3 of {files.path / LEDGER} is damaged") == f"line 3 of {uri}/{LEDGER} is damaged"
    (files.path / names.RUN_FILE).write_text("{")
    with pytest.raises(DamagedFile) as told, files.naming():
        raise DamagedFile(files.path / names.RUN_FILE, "half of it is there", "restore it")
    assert str(told.value) == f"{uri}/{names.RUN_FILE} is damaged (half of it is there): restore it."
    assert told.value.reason == "half of it is there", "the error keeps its fields"


def test_a_file_written_through_run_files_is_in_the_store_without_a_further_call(uri: str) -> None:
    files, other = StoredRunFiles(uri), StoredRunFiles(uri)
    files.write_json(names.RUN_FILE, {"a": 1})
    files.append_row(LEDGER, report(0, 5.0))
    assert in_store(uri) == {names.RUN_FILE, LEDGER}
    assert read_json(other.fetched(names.RUN_FILE)) == {"a": 1}
    files.remove(LEDGER)
    assert in_store(uri) == {names.RUN_FILE} and not other.has(LEDGER)


def test_files_written_in_a_writing_block_are_sent_even_if_the_block_is_interrupted(uri: str) -> None:
    files = StoredRunFiles(uri)

    def write_and_break_off() -> None:
        with files.writing():
            append_row(files.path / LEDGER, report(0, 5.0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_break_off()
    assert in_store(uri) == {LEDGER}


def test_a_copy_is_deleted_with_its_run_files(uri: str) -> None:
    files = StoredRunFiles(uri)
    path = files.path
    assert path.is_dir() and path.parts[-2:] == ("study", "run")
    del files
    assert not path.exists()


def test_a_run_on_a_path_has_no_copy(tmp_path: Path) -> None:
    files = run_files(tmp_path)
    assert type(files) is RunFiles and files.path == tmp_path and files.address == str(tmp_path)


# --- the run folder ---


def begun(uri: str) -> RunFolder:
    folder = RunFolder.at(uri)
    folder.write_record(run_record(SWEEP))
    return folder


def trained(folder: RunFolder, plan: TrialPlan, loss: float) -> None:
    """Write the files that a trial leaves when it ran on another node."""
    node = StoredRunFiles(folder.address)
    inside = f"{names.TRIALS_FOLDER}/{plan.name}"
    node.append_row(f"{inside}/{names.LEDGER_FILE}", report(plan.config.loop.steps, loss))
    with node.writing():
        (node.path / inside / names.CHECKPOINT_FILE).write_bytes(b"weights")


def test_each_run_has_its_own_address_and_is_read_back(uri: str) -> None:
    results = uri.removesuffix("/study/run")
    made = RunFolder.create(results, "study")
    made.write_record(run_record(SWEEP))
    assert RunFolder.create(results, "study").address != made.address
    assert RunFolder.open(made.address).spec().to_dict() == SWEEP.to_dict()
    with pytest.raises(InputError, match=r"^s3://.*/other is not a run: it has no run\.json"):
        RunFolder.open(f"{results}/other")


def test_a_run_name_that_holds_other_files_is_refused(uri: str, tmp_path: Path) -> None:
    results = uri.removesuffix("/study/run")
    assert not RunFolder.named(results, "study", "run").begun
    (tmp_path / "file").touch()
    Store(uri).put(tmp_path / "file", "notes.txt")
    with pytest.raises(InputError, match=r"has files but no run\.json"):
        RunFolder.named(results, "study", "run")


def test_a_second_driver_on_this_machine_is_refused(uri: str) -> None:
    folder = begun(uri)
    with folder.locked(), pytest.raises(InputError, match=f"^run {uri} is in use"), RunFolder.open(uri).locked():
        pytest.fail("two drivers have locked the run")


def test_a_run_keeps_the_checkpoint_of_its_best_trial_alone(uri: str) -> None:
    folder = begun(uri)
    plans = [control_plan(override(SWEEP.base, {"seed": seed})) for seed in range(3)]
    kept = []
    for plan, loss in zip(plans, (4.0, 3.0, 5.0), strict=True):
        folder.open_trial(plan)
        trained(folder, plan, loss)
        assert folder.status(plan.name) == (names.RUNNING, "")
        folder.close_trial(plan, names.FINISHED)
        kept.append(folder.files.trials_with(names.CHECKPOINT_FILE))
    assert kept == [{plans[0].name}, {plans[1].name}, {plans[1].name}]
    again = RunFolder.open(uri)
    assert [trial.plan.name for trial in again.finished()] == [plans[1].name, plans[0].name, plans[2].name]
    assert again.checkpoint(plans[1].name).read_bytes() == b"weights"
    assert not again.checkpoint(plans[0].name).exists()
    assert [(plan.name, state) for plan, state, _ in again.trials()] == [(p.name, names.FINISHED) for p in plans]


def test_the_command_line_names_a_damaged_file_of_a_stored_run_by_its_uri(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, plan = begun(uri), control_plan(SWEEP.base)
    folder.open_trial(plan)
    trained(folder, plan, 4.0)
    folder.close_trial(plan, names.FINISHED)
    record = run_record(SWEEP)
    corpus = replace(record.corpus, fingerprint=open_corpus(SWEEP.base.corpus).fingerprint)
    folder.write_record(replace(record, corpus=corpus, complete=True))
    ledger = f"{names.TRIALS_FOLDER}/{plan.name}/{names.LEDGER_FILE}"
    (tmp_path / "damaged").write_bytes(b"{}\n")
    Store(uri).put(tmp_path / "damaged", ledger)
    words = ["--resume", uri, "--export", "best", str(tmp_path / "model")]
    assert main(schedule_search, SearchOptions, "The study.", words) == USAGE_ERROR
    told = capsys.readouterr().err
    assert told.startswith(f"error: {uri}/{ledger} is damaged") and "bigram-run-" not in told


def test_the_status_that_a_node_writes_is_read_by_the_driver(uri: str) -> None:
    folder, node = begun(uri), StoredRunFiles(uri)
    plan = control_plan(SWEEP.base)
    folder.open_trial(plan)
    said = {"state": names.FAILED, "reason": "it diverged", "last_step": None}
    node.write_json(f"{names.TRIALS_FOLDER}/{plan.name}/{names.STATUS_FILE}", said)
    assert folder.status(plan.name) == (names.FAILED, "it diverged")


def test_a_store_that_cannot_be_written_to_is_refused(uri: str) -> None:
    RunFolder.at(uri).files.check_writable()
    assert in_store(uri) == set(), "the check leaves no file"
    with pytest.raises(InputError, match=r"^cannot write to s3://no-such-bucket/study/run: .*check its name"):
        RunFolder.at("s3://no-such-bucket/study/run").files.check_writable()


def test_a_run_below_the_working_folder_is_called_by_its_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_files(tmp_path / "results" / "run").called == "results/run"
    assert run_files("/elsewhere/run").called == "/elsewhere/run"
