"""run.json: a record is read back as written, older records can be read, and an error names each wrong key."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT
from sweep_specs import run_record, small_sweep
from synthetic_run import write_run

from trainable import names
from trainable.errors import InputError
from trainable.record.files import write_json
from trainable.record.run_record import RecordError, RunRecord, own_name, read_record

KEPT = sorted((ROOT / "results" / "record").glob(f"*/{names.RUN_FILE}"))


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, Any]:
    """Record as plain JSON values, without its checksum."""
    found: dict[str, Any] = json.loads((write_run(tmp_path / "run") / names.RUN_FILE).read_text())
    del found["checksum"]
    return found


def test_a_record_is_read_back_from_json_as_it_was_written() -> None:
    record = run_record(small_sweep())
    assert RunRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.parent.name)
def test_kept_records_can_be_read_and_keep_their_values(path: Path) -> None:
    """The kept records have schema 1, and some lack keys that were added later."""
    kept = json.loads(path.read_text())
    again = json.loads(json.dumps(read_record(path.parent).to_dict()))
    assert {key: again[key] for key in kept.keys() - {"checksum"}} == {k: v for k, v in kept.items() if k != "checksum"}


def test_facts_that_are_not_known_yet_are_left_out() -> None:
    assert {"ended", "wall_seconds"}.isdisjoint(run_record(small_sweep()).to_dict())


@pytest.mark.parametrize("key", ["study", "run", "versions", "git_commit", "hardware", "corpus", "tokenizer", "tokens"])
def test_a_record_without_a_fact_is_refused_with_the_name_of_the_fact(tree: dict[str, Any], key: str) -> None:
    with pytest.raises(RecordError, match=rf"^run\.json lacks {key}: restore it from a copy, or start a new run\.$"):
        RunRecord.from_dict({name: value for name, value in tree.items() if name != key})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"spec": None}, "has no settings under spec.base"),
        ({"spec": {"kind": "search"}}, "has no settings under spec.base"),
        ({"schema": 2}, "has schema 2 but this version reads schema 1"),
        ({"tokenizer": {"spec": "train:512"}}, "lacks tokenizer.fingerprint, tokenizer.vocab_size"),
        ({"corpus": "books"}, "has no object under corpus"),
        ({"weather": "fine"}, "has weather, unknown to this version"),
    ],
)
def test_a_wrong_record_is_refused_with_the_reason(tree: dict[str, Any], changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecordError) as told:
        RunRecord.from_dict(tree | changes, "a/run.json")
    assert (told.value.path, told.value.problem) == ("a/run.json", problem)


def test_an_unknown_fact_is_refused_and_not_dropped(tree: dict[str, Any]) -> None:
    tree["teacher"]["order"] = 3
    with pytest.raises(RecordError, match=r"has teacher\.order, unknown to this version"):
        RunRecord.from_dict(tree)


def test_a_folder_without_run_json_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not a run folder, for it has no run\.json"):
        read_record(tmp_path)


def test_a_checksum_may_be_missing_only_in_a_run_without_trial_folders(tree: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "kept" / names.RUN_FILE
    write_json(path, tree)
    path.write_text(json.dumps(tree))
    assert read_record(path.parent).to_dict()["study"] == tree["study"]
    (path.parent / names.TRIALS_FOLDER).mkdir()
    with pytest.raises(InputError, match=r"run\.json is damaged"):
        read_record(path.parent)


def test_the_module_of_records_imports_neither_torch_nor_ray_nor_pandas() -> None:
    code = "import sys, trainable.record.run_record; print(sorted({'torch', 'ray', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


# --- names of files ---


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("/disk/mine/books.parquet", "books.parquet"),
        ("/disk/mine/data/books.parquet", "data/books.parquet"),
        ("/elsewhere/books.parquet", "books.parquet"),
        ("../books.parquet", "../books.parquet"),
        ("--results=/elsewhere/runs", "--results=runs"),
        ("corpus.source=/disk/mine/a.txt", "corpus.source=a.txt"),
        ("file:///elsewhere/a.txt", "a.txt"),
        ("s3://bucket/results", "s3://bucket/results"),
        ("bookcorpus/bookcorpus", "bookcorpus/bookcorpus"),
        ("train:4096", "train:4096"),
    ],
)
def test_a_record_names_a_file_by_its_relative_path_or_by_its_last_part(text: str, named: str) -> None:
    assert own_name(text, Path("/disk/mine")) == named


def test_paths_of_corpus_tokenizer_and_command_are_shortened_but_those_of_the_spec_are_kept() -> None:
    sweep = small_sweep({"corpus.source": "/elsewhere/books.parquet", "model.name": "/elsewhere/llama"})
    typed = ("python", "/elsewhere/sweeps/kfold.py", "--corpus", "/elsewhere/b.txt")
    record = replace(run_record(sweep), command=typed)
    record = replace(
        record,
        corpus=replace(record.corpus, source="/elsewhere/books.parquet"),
        tokenizer=replace(record.tokenizer, spec="/elsewhere/tokenizer"),
    )
    named = record.with_own_names(Path("/disk"))
    assert (named.corpus.source, named.tokenizer.spec) == ("books.parquet", "tokenizer")
    assert named.command == ("python", "kfold.py", "--corpus", "b.txt")
    assert named.spec == sweep.to_dict()
