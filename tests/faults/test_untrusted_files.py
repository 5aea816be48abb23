"""Files from others run no code and name no path outside of their folder; our files hold no secret."""

import hashlib
import io
import json
import pickle
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from paths import ROOT, child_environment
from small_corpus import small_config
from sweep_specs import new_run, run_record, small_sweep
from synthetic_run import realistic_run

from analysis.results import load, write
from sweeps.engine.cluster.ray_start import Machine
from sweeps.engine.folder import RunFolder
from sweeps.engine.order.asha import GroupAsha
from sweeps.engine.order.journal import StudyJournal
from sweeps.engine.provenance import command
from sweeps.engine.specs.asha_spec import AshaSpec
from sweeps.engine.specs.comparison import Comparison
from sweeps.engine.specs.pairs import control_plan
from trainable import names
from trainable.config import CorpusConfig, ModelConfig, TrialConfig
from trainable.errors import InputError
from trainable.plan import TrialPlan
from trainable.prepare import prepare_run
from trainable.record.cache import read_manifest
from trainable.record.files import read_json, sha256_of_file, write_json
from trainable.record.run_files import RunFiles
from trainable.student.checkpoint import load_checkpoint
from trainable.student.model import student_config
from trainable.student.run_data import RunData
from trainable.teacher.table import BigramTable, load_table, save_table
from trainable.text.corpus import open_corpus
from trainable.text.sources.hub import hub_splits
from trainable.text.tokenizer.tokenizer import load_tokenizer

MARK = "a-planted-pickle-ran"


class Planted:
    """Object that makes a file in the working directory when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(MARK),)


PICKLE = pickle.dumps(Planted())


@pytest.fixture(autouse=True)
def nothing_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / MARK).exists(), "a planted file ran code"


def test_the_planted_pickle_would_run_if_it_were_unpickled(tmp_path: Path) -> None:
    pickle.loads(PICKLE)
    assert (tmp_path / MARK).exists()
    (tmp_path / MARK).unlink()  # else the check after the test would fail, as it should


# ---- no code runs ------------------------------------------------------------------------------------------


def torch_zip() -> bytes:
    buffer = io.BytesIO()
    torch.save({"config": "settings", "state": Planted()}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("payload", [PICKLE, torch_zip()], ids=["plain pickle", "torch file"])
def test_a_checkpoint_with_a_right_checksum_and_code_in_it_is_refused(tmp_path: Path, payload: bytes) -> None:
    path = tmp_path / names.CHECKPOINT_FILE
    path.write_bytes(payload + hashlib.sha256(payload).digest())
    with pytest.raises(InputError, match="is no checkpoint"):
        load_checkpoint(path, "settings")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialConfig, Path, RunData]:
    folder = tmp_path_factory.mktemp("prepared")
    config = small_config(folder, {"teacher.schedule": "linear", "teacher.steps": 10})
    return config, folder / "cache", prepare_run(config, folder / "cache")[0]


@pytest.mark.parametrize("checksums", ["right", "absent"])
@pytest.mark.parametrize("kind", ["tokens", "tokenizers", "tables"])
def test_a_pickle_in_place_of_any_cached_file_is_not_run(
    prepared: tuple[TrialConfig, Path, RunData], tmp_path: Path, kind: str, checksums: str
) -> None:
    """Pickles in place of cached files: without checksums the cache is made again; with right ones it is refused."""
    config, cache, whole = prepared
    copy = Path(shutil.copytree(cache, tmp_path / "cache"))
    for folder in (copy / kind).iterdir():
        manifest_file = folder / "manifest.json"
        if not folder.is_dir():
            continue
        for path in folder.iterdir():
            if path != manifest_file:
                path.write_bytes(PICKLE)
        if checksums == "right":
            resealed(folder)
        else:
            manifest_file.write_text(json.dumps({"files": {}}))
    if checksums == "absent":
        assert prepare_run(config, copy)[0].train.checksum == whole.train.checksum
        return
    told = {"tokens": "is damaged", "tokenizers": "is not a whole tokenizer file", "tables": "is no bigram table"}[kind]
    with pytest.raises(InputError, match=told):
        prepare_run(config, copy)


def resealed(folder: Path, **changes: Any) -> Path:
    """Correct the checksums of a manifest after a change, as an attacker would; return the folder."""
    manifest = read_json(folder / "manifest.json")
    for name in manifest["files"]:
        path = folder / name
        manifest["files"][name] = {"bytes": path.stat().st_size, "sha256": sha256_of_file(path)}
    write_json(folder / "manifest.json", manifest | changes)
    return folder


def copied_blocks(prepared: tuple[TrialConfig, Path, RunData], folder: Path) -> Path:
    """Copy the cache to `folder`; return the folder of the training blocks in the copy."""
    _, cache, whole = prepared
    return Path(shutil.copytree(cache, folder, dirs_exist_ok=True), whole.train.path.relative_to(cache))


@pytest.mark.parametrize("dtype", ["|O", "O", "<f8", "|V8", "M8[s]", "|S2"])
def test_token_blocks_of_a_type_that_holds_no_ids_are_refused(
    prepared: tuple[TrialConfig, Path, RunData], tmp_path: Path, dtype: str
) -> None:
    """Token blocks of a type that holds no ids are refused; bytes that are read as objects would be pointers."""
    resealed(copied_blocks(prepared, tmp_path), dtype=dtype)
    with pytest.raises(InputError, match="token ids of type"):
        prepare_run(prepared[0], tmp_path)


def test_token_ids_outside_of_the_vocabulary_are_refused(
    prepared: tuple[TrialConfig, Path, RunData], tmp_path: Path
) -> None:
    folder = copied_blocks(prepared, tmp_path)
    (folder / "tokens.bin").write_bytes(b"\xff\xff" * (prepared[2].train.stream_N.size))
    resealed(folder)
    with pytest.raises(InputError, match="a token id outside of the vocabulary"):
        prepare_run(prepared[0], tmp_path)


def test_a_pickle_in_a_tokenizer_folder_is_not_run(tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"):
        (tmp_path / name).write_bytes(PICKLE)
    with pytest.raises(InputError, match=r"tokenizer\.json is not a whole tokenizer file"):
        load_tokenizer(str(tmp_path), lambda: iter(()), "", tmp_path)


@pytest.mark.parametrize("content", [MARK.encode(), PICKLE])
def test_a_pickle_for_a_bigram_table_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.bigram"
    for planted in (content, content + hashlib.sha256(content).digest()):
        path.write_bytes(planted)
        with pytest.raises(InputError, match="is no bigram table"):
            load_table(path)


@pytest.mark.parametrize(
    ("name", "where", "value", "message"),
    [
        ("indices", 3, 65_000, "outside its vocabulary"),
        ("indptr", 5, 10**12, "rows overlap"),
        ("indptr", 5, -(10**12), "rows overlap"),
        ("values", 0, np.nan, "no number"),
        ("values", 0, -1.0, "negative"),
    ],
)
def test_a_bigram_table_with_impossible_indices_or_values_is_refused(
    prepared: tuple[TrialConfig, Path, RunData], tmp_path: Path, name: str, where: int, value: float, message: str
) -> None:
    """A bigram table whose arrays cannot come from counting is refused, although its digest is right."""
    table = prepared[2].table
    assert isinstance(table, BigramTable)
    array = getattr(table, name).copy()
    array[where] = value
    save_table(replace(table, **{name: array}), tmp_path / "t.bigram")
    with pytest.raises(InputError, match=message):
        load_table(tmp_path / "t.bigram")


def test_a_model_folder_runs_no_code_of_its_own(tmp_path: Path) -> None:
    settings = {
        "model_type": "llama",
        "vocab_size": 512,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "intermediate_size": 16,
        "max_position_embeddings": 16,
        "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"},
    }
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "evil.py").write_text(f"from pathlib import Path; Path({MARK!r}).touch()")
    (tmp_path / "pytorch_model.bin").write_bytes(PICKLE)
    assert student_config(ModelConfig(name=str(tmp_path)), 512, 16).hidden_size == 16, "the folder's sizes are not used"
    assert not (tmp_path / MARK).exists(), "the folder ran code"


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "rows.txt"])
def test_a_pickle_for_a_corpus_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(PICKLE)
    with pytest.raises(InputError, match="rows"):
        open_corpus(CorpusConfig(source=str(tmp_path / name)))


def test_a_corpus_folder_runs_no_loading_script(tmp_path: Path) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "books.py").write_text(f"from pathlib import Path; Path({MARK!r}).touch()")
    with pytest.raises(InputError, match="holds no files of text"):
        open_corpus(CorpusConfig(source=str(folder)))
    (folder / "state.json").write_bytes(PICKLE)
    (folder / "dataset_info.json").write_bytes(PICKLE)
    with pytest.raises(InputError, match="is not a whole saved data set"):
        open_corpus(CorpusConfig(source=str(folder)))


def test_a_pickle_in_the_metadata_of_a_parquet_file_is_not_run(tmp_path: Path) -> None:
    """A pickle as the metadata of an extension type, which old versions of Arrow unpickled, is not run."""
    kind = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": PICKLE}
    schema = pa.schema([pa.field("text", pa.string(), metadata=kind)], metadata={b"pandas": PICKLE})
    pq.write_table(pa.table([["a row"]], schema=schema), tmp_path / "rows.parquet")
    corpus = open_corpus(CorpusConfig(source=str(tmp_path / "rows.parquet")))
    assert list(corpus.texts(np.array([0]))) == ["a row"]


def test_pickles_for_every_file_of_a_run_are_refused(tmp_path: Path) -> None:
    run = realistic_run(tmp_path / "run", trials_per_depth=3)
    write(run)
    for path in [path for path in run.rglob("*") if path.is_file() and "tfevents" not in path.name]:
        whole = path.read_bytes()
        path.write_bytes(PICKLE + b"\n")
        if path.suffix == ".parquet":
            load(run)  # tables are not read beside ledgers
        else:
            with pytest.raises(InputError, match=re.escape(str(path))):
                load(run)
        path.write_bytes(whole)
    (run / names.RUNGS_FILE).write_bytes(PICKLE + b"\n")
    with pytest.raises(InputError, match=r"asha\.jsonl is damaged \(line 1: "):
        GroupAsha(AshaSpec(grace_period=20), 40, RunFiles(run))
    shutil.rmtree(run / "trials")
    (run / names.CURVES_TABLE).write_bytes(PICKLE)
    with pytest.raises(InputError, match=r"curves\.parquet is damaged"):
        load(run)


def test_pickles_for_tunes_own_files_and_the_journal_are_not_read(tmp_path: Path) -> None:
    run = new_run(tmp_path / "study" / "run", small_sweep())
    for name in ("tuner.pkl", "trainable.pkl", "searcher-state.pkl", "experiment_state.json"):
        (run.path / "tune" / "attempt-1").mkdir(parents=True, exist_ok=True)
        (run.path / "tune" / "attempt-1" / name).write_bytes(PICKLE)
    (run.path / names.JOURNAL_FILE).write_bytes(PICKLE)
    assert run.trials() == [] and run.new_attempt() == "attempt-2"
    StudyJournal(run.files, "study run").start({"depth 1 control": []})
    assert PICKLE not in (run.path / names.JOURNAL_FILE).read_bytes()


# ---- names stay in their folder ----------------------------------------------------------------------------

ESCAPES = [
    "../outside",
    "/tmp/outside",
    "a/../../outside",
    "..",
    ".",
    "",
    "a\0b",
    "a/b",
    "a\\b",
    "a\nb",
    "-" * 3,
    "x" * 101,
]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("field", ["name", "control"])
def test_a_trial_name_that_is_no_folder_name_is_refused(field: str, name: str) -> None:
    plan = control_plan(small_sweep().base).to_dict() | {field: name}
    with pytest.raises(InputError, match="cannot be a folder"):
        TrialPlan.from_dict(plan)


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside"])
def test_a_run_file_from_others_cannot_write_outside_of_its_run(tmp_path: Path, name: str) -> None:
    sweep = small_sweep()
    plan = control_plan(sweep.base)
    tree = Comparison(study="s", question="?", base=sweep.base, plans=(plan,)).to_dict()
    tree["plans"][0] |= {"name": name, "control": name}
    write_json(tmp_path / "run" / names.RUN_FILE, run_record(sweep).to_dict() | {"spec": tree})
    with pytest.raises(InputError, match="cannot be a folder"):
        RunFolder.open(tmp_path / "run").spec()


def test_a_trial_file_that_names_another_folder_is_refused(tmp_path: Path) -> None:
    run = realistic_run(tmp_path / "run", trials_per_depth=3)
    path = run / "trials" / "none-L1-s0" / names.TRIAL_FILE
    write_json(path, read_json(path) | {"name": "../../outside"})
    with pytest.raises(InputError, match=r"trial\.json is not that of trial none-L1-s0"):
        load(run)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../secret"])
def test_a_manifest_cannot_name_files_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "cache").mkdir()
    digest = hashlib.sha256(b"x").hexdigest()
    write_json(tmp_path / "cache" / "manifest.json", {"files": {name: {"bytes": 1, "sha256": digest}}})
    with pytest.raises(InputError, match="is damaged"):
        read_manifest(tmp_path / "cache")


@pytest.mark.parametrize("source", ["../a/b", "a/../b", "a/b/c", "/absent", "a\0b", "~/absent", "org/..\\x", "a/b\n"])
def test_a_source_that_leaves_its_folder_is_no_hub_id(source: str) -> None:
    with pytest.raises(InputError, match=r"does not exist|NUL"):
        open_corpus(CorpusConfig(source=source))


@pytest.mark.parametrize("revision", ["../../../etc/passwd", "/etc/passwd", "refs/../../x"])
def test_a_revision_that_is_a_path_is_refused(revision: str) -> None:
    with pytest.raises(InputError, match="give a branch, a tag or a commit"):
        hub_splits("org/name", revision)


@pytest.mark.parametrize("column", ["../outside", "/tmp/outside", "a\0b"])
def test_a_column_name_that_looks_like_a_path_is_used_only_as_a_name(tmp_path: Path, column: str) -> None:
    pq.write_table(pa.table({column: ["a row"]}), tmp_path / "rows.parquet")
    before = sorted(tmp_path.parent.iterdir())
    corpus = open_corpus(CorpusConfig(source=str(tmp_path / "rows.parquet"), column=column))
    assert list(corpus.texts(np.array([0]))) == ["a row"]
    assert sorted(tmp_path.parent.iterdir()) == before


# ---- no secrets in results, no open dashboard --------------------------------------------------------------

SECRETS = {
    "HF_TOKEN": "hf_planted0123456789secret",
    "WANDB_API_KEY": "planted0123456789wandb",
    "AWS_SECRET_ACCESS_KEY": "planted0123456789aws",
    "MY_PASSWORD": "planted0123456789password",
}


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("--address=ray://me:planted@host:10001", "--address=ray://***@host:10001"),
        ("https://planted@huggingface.co/x", "https://***@huggingface.co/x"),
        ("https://host/x?token=planted&a=1", "https://host/x?token=***&a=1"),
        ("hf_planted0123456789secret", "***"),
        ("--note=planted0123456789password!", "--note=***!"),
        ("--corpus=my_books.parquet", "--corpus=my_books.parquet"),
        ("org/name@main", "org/name@main"),
    ],
)
def test_secrets_of_the_command_line_are_not_recorded(monkeypatch: pytest.MonkeyPatch, typed: str, kept: str) -> None:
    monkeypatch.setenv("MY_PASSWORD", SECRETS["MY_PASSWORD"])
    monkeypatch.setattr(sys, "argv", ["study.py", typed])
    assert command() == ["python", "study.py", kept]


def test_the_dashboard_listens_on_this_machine_alone_by_default() -> None:
    assert Machine().dashboard_host == "127.0.0.1"


def test_no_file_of_a_real_run_holds_a_secret_of_the_environment(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    words = [sys.executable, str(ROOT / "sweeps" / "schedule_search.py"), "--smoke-test"]
    words += ["--corpus", config.corpus.source, "--train-rows", "400", "--eval-rows", "50"]
    words += ["--tokenizer", "train:512", "--results", str(tmp_path / "results"), "--cpus", "2"]
    words += ["--set", "tokens.context=32", "loop.batch_blocks=4"]
    done = subprocess.run(
        words, env=child_environment(BIGRAM_CACHE=str(tmp_path / "cache")) | SECRETS, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr + done.stdout
    [url] = re.findall(r"Ray dashboard: http://([\d.]+):", done.stdout)
    assert url == "127.0.0.1"
    files = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    found = [str(path) for path in files if b"planted0123456789" in path.read_bytes()]
    assert len(files) > 10
    assert found == [], "a secret is in the results"
