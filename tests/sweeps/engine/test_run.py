"""The driver's record of a run: what a new run writes, what a resumed run keeps, and which changes are refused."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from sweep_specs import run_record, small_sweep

from sweeps.engine.folder import RunFolder
from sweeps.engine.run import write_run_file
from trainable.errors import InputError
from trainable.record.run_record import TableFacts

SWEEP = small_sweep({"corpus.source": "/elsewhere/books.parquet"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    return RunFolder.create(tmp_path / "results", SWEEP.study)


def facts(fingerprint: str = "0" * 16, checksum: str = "2" * 16) -> dict[str, Any]:
    """Facts for run.json that come from the prepared data and from the machine."""
    table = TableFacts(
        rows="student",
        smoothing="mle",
        bigrams=9,
        counted_tokens=9,
        checksum=checksum,
        eval_loss=None,
        blocks="b",
        tokenizer="1" * 16,
    )
    tree = run_record(SWEEP).to_dict()
    own = {key: tree[key] for key in ("tokenizer", "tokens", "teacher", "versions", "git_commit", "hardware")}
    corpus = tree["corpus"] | {"source": "/elsewhere/books.parquet", "fingerprint": fingerprint}
    return own | {"corpus": corpus, "tables": {"t": asdict(table)}, "command": ["python", "kfold.py"]}


def test_a_new_run_names_its_corpus_by_its_file_and_keeps_in_its_spec_what_a_resumption_needs(
    folder: RunFolder,
) -> None:
    write_run_file(folder, SWEEP, facts())
    record = folder.record()
    assert (record.corpus.source, record.base["corpus"]["source"]) == ("books.parquet", "/elsewhere/books.parquet")
    assert (record.study, record.run, record.complete, record.ended) == ("study", folder.path.name, False, None)
    assert folder.spec() == SWEEP


def test_a_resumed_run_keeps_its_date_and_first_facts_and_is_not_complete(folder: RunFolder) -> None:
    write_run_file(folder, SWEEP, facts())
    ended = replace(folder.record(), created="2026-01-01T00:00:00+00:00", complete=True, wall_seconds=9.0)
    folder.write_record(ended)
    write_run_file(folder, SWEEP, facts() | {"command": ["python", "another.py"]})
    assert folder.record() == replace(ended, complete=False)


@pytest.mark.parametrize(
    ("changes", "part"),
    [({"fingerprint": "9" * 16}, "corpus"), ({"checksum": "9" * 16}, "teacher")],
)
def test_a_run_whose_data_have_changed_is_not_resumed(folder: RunFolder, changes: dict[str, str], part: str) -> None:
    write_run_file(folder, SWEEP, facts())
    with pytest.raises(InputError, match=f"the {part} of run .* is no longer what its trials used .*, now 9999"):
        write_run_file(folder, SWEEP, facts(**changes))


def model_folder(path: Path, **changes: Any) -> Path:
    sizes = {"vocab_size": 512, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    path.mkdir(exist_ok=True)
    settings = {"model_type": "llama", "max_position_embeddings": 1024, **sizes, **changes}
    (path / "config.json").write_text(json.dumps(settings))
    return path


def test_a_run_whose_model_folder_has_another_model_now_is_not_resumed(folder: RunFolder, tmp_path: Path) -> None:
    """A key without effect on training may change: an export by this project adds such keys."""
    model = model_folder(tmp_path / "llama")
    sweep = small_sweep({"model.name": str(model)})
    write_run_file(folder, sweep, facts())
    model_folder(tmp_path / "llama", pad_token_id=2, transformers_version="4.31.0")
    write_run_file(folder, sweep, facts())
    model_folder(tmp_path / "llama", rope_theta=500.0)
    with pytest.raises(InputError, match=r"the model of run .* is no longer what its trials used"):
        write_run_file(folder, sweep, facts())


def test_a_run_that_has_not_recorded_its_model_goes_on(folder: RunFolder, tmp_path: Path) -> None:
    sweep = small_sweep({"model.name": str(model_folder(tmp_path / "llama"))})
    write_run_file(folder, sweep, facts())
    folder.write_record(replace(folder.record(), model=None))
    write_run_file(folder, sweep, facts())
    assert "model" not in folder.record().to_dict()
