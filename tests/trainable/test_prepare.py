"""Preparation: the data of a run are made once, and only from the rows that the run may read."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_tokenizers import save, word_level
from paths import ROOT
from small_corpus import small_config, small_sentences

from trainable import prepare
from trainable.config import TeacherConfig, TrialConfig, from_dict, override
from trainable.errors import InputError
from trainable.plan import data_key, table_key
from trainable.prepare import prepare_run, prepare_runs
from trainable.record.files import fingerprint
from trainable.record.run_record import read_record
from trainable.shared_data import checksums, data_of
from trainable.teacher import build as teacher
from trainable.teacher.build import count, count_of_order
from trainable.teacher.kneser_ney import estimate_ngrams
from trainable.teacher.ngram_table import NgramTable
from trainable.teacher.smoothing import estimate_table
from trainable.teacher.table import BigramTable
from trainable.text import packing
from trainable.text.blocks import token_blocks
from trainable.text.corpus import Corpus, open_corpus
from trainable.text.sources import rows_lines
from trainable.text.split import split_rows
from trainable.text.tokenizer.tokenizer import corpus_tokenizer, train_bpe


def ray_bytes(data: object) -> int:
    """Bytes of the data in Ray's object store: their pickle, and the arrays beside it; a shared object counts once."""
    arrays: list[pickle.PickleBuffer] = []
    head = pickle.dumps(data, 5, buffer_callback=arrays.append)
    return len(head) + sum(array.raw().nbytes for array in arrays)


TRIGRAM = {"teacher.kind": "ngram", "teacher.order": 3, "teacher.smoothing": "modified_kneser_ney"}
SECRET = "xylophone quartz xylophone quartz xylophone."


def prepared(folder: Path, rows: str) -> tuple[BigramTable, int, int]:
    """Prepare a run whose validation rows alone hold SECRET: (table, counted tokens, tokens of the training rows)."""
    config = small_config(folder, {"teacher.rows": rows, "corpus.train_rows": 200})
    split = split_rows(600, config.corpus)
    sentences = small_sentences()
    for row in split.eval:
        sentences[row] = SECRET
    Path(config.corpus.source).write_text("".join(f"{s}\n" for s in sentences), encoding="utf-8")
    data, facts = prepare_run(config, folder / "cache")
    assert data.table is not None
    return data.table, facts["teacher"]["counted_tokens"], len(data.train.stream_N)


def test_the_teacher_counts_the_students_rows_and_no_others(tmp_path: Path) -> None:
    _, counted, tokens = prepared(tmp_path, "student")
    assert counted == tokens


def test_validation_rows_are_counted_for_the_leak_probe_alone(tmp_path: Path) -> None:
    contexts = {}
    for rows in ("student", "train_split", "all"):
        (tmp_path / rows).mkdir()
        table, counted, tokens = prepared(tmp_path / rows, rows)
        contexts[rows] = (np.diff(table.indptr) > 0).sum()
        assert (counted > tokens) == (rows != "student")
        assert table.rows == rows
    assert contexts["all"] > contexts["train_split"], "only the leak probe has contexts from validation rows"


def test_a_table_is_made_once_and_another_smoothing_gives_another_table(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    cache = tmp_path / "cache"
    first, _ = prepare_run(config, cache)
    tables = set((cache / "tables").glob("*/table.bin"))
    stamps = {path: path.stat().st_mtime_ns for path in tables}
    again, _ = prepare_run(config, cache)
    assert {path: path.stat().st_mtime_ns for path in tables} == stamps
    assert first.table is not None
    assert again.table is not None
    assert again.table.checksum == first.table.checksum
    other, facts = prepare_run(small_config(tmp_path, {"teacher.smoothing": "witten_bell"}), cache)
    assert other.table is not None
    assert other.table.checksum != first.table.checksum
    assert facts["teacher"]["smoothing"] == "witten_bell"


def test_a_table_without_rare_bigrams_is_another_table_and_keys_of_old_tables_stay(tmp_path: Path) -> None:
    """Runs that were recorded before teacher.min_count existed can be resumed."""
    plain, pruned = (
        small_config(tmp_path, {"teacher.smoothing": "kneser_ney", "teacher.min_count": limit}) for limit in (1, 3)
    )
    assert table_key(plain) != table_key(pruned)
    assert table_key(plain) == fingerprint([data_key(plain), "bigram", "kneser_ney", None, "student"])
    prepared = prepare_runs([plain, pruned], tmp_path / "cache")
    whole, small = (prepared.tables[table_key(config)] for config in (plain, pruned))
    assert 0 < len(small.values) < len(whole.values)
    assert small.counted_tokens == whole.counted_tokens


def test_tables_that_earlier_versions_kept_under_another_name_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, cache = small_config(tmp_path), tmp_path / "cache"
    with monkeypatch.context() as earlier:
        earlier.setattr(teacher, "TABLE_FORMAT", 3)
        earlier.setattr(teacher, "TABLE_FILE", "table.bigram")
        first, _ = prepare_run(config, cache)
    assert list((cache / "tables").glob("*/table.bigram")) and not list((cache / "tables").glob("*/table.bin"))
    again, _ = prepare_run(config, cache)
    assert first.table is not None and again.table is not None
    assert again.table.checksum == first.table.checksum
    assert list((cache / "tables").glob("*/table.bin"))


def test_a_damaged_table_is_counted_again(tmp_path: Path) -> None:
    config, cache = small_config(tmp_path, {"teacher.smoothing": "add_k"}), tmp_path / "cache"
    first, _ = prepare_run(config, cache)
    (path,) = (cache / "tables").glob("*/table.bin")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)
    again, _ = prepare_run(config, cache)
    assert first.table is not None
    assert again.table is not None
    assert again.table.checksum == first.table.checksum
    assert path.read_bytes() != bytes(content), "the damaged file was left"


def test_empty_rows_are_counted_and_reported(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    path = Path(config.corpus.source)
    path.write_text(path.read_text(encoding="utf-8") + "\n \n\n", encoding="utf-8")
    said: list[str] = []
    _, facts = prepare_run(config, tmp_path / "cache", said.append)
    assert facts["corpus"]["empty_rows"] == 3
    assert "empty rows dropped" in " ".join(said)


def config_of_a_tokenizer(folder: Path, known: int) -> TrialConfig:
    """Config of 600 rows, each of one letter; of every 100 rows, `known` have the letter that the tokenizer knows."""
    rows = ["a a a a a a a a" if 37 * i % 100 < known else "Ж Ж" for i in range(600)]
    given = save(word_level(["<unk>", "a"], ["</s>", "<eos>"]), folder / "given", eos_token="</s>", pad_token=None)
    config = small_config(folder, {"tokens.tokenizer": str(given)})
    Path(config.corpus.source).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return config


@pytest.mark.parametrize(("known", "begin"), [(100, None), (99, "tokenizer "), (60, "warning: tokenizer ")])
def test_rows_that_the_tokenizer_cannot_read_are_reported_and_recorded(
    known: int, begin: str | None, tmp_path: Path
) -> None:
    said: list[str] = []
    config = config_of_a_tokenizer(tmp_path, known)
    _, facts = prepare_run(config, tmp_path / "cache", said.append)
    assert facts["corpus"]["unread_rows"] == 6 * (100 - known)
    told = [line for line in said if "cannot read" in line]
    assert bool(told) == (begin is not None)
    assert begin is None or told[0].startswith(begin)


def test_a_run_whose_rows_are_mostly_unknown_is_refused_with_the_reason(tmp_path: Path) -> None:
    config = override(config_of_a_tokenizer(tmp_path, 40), {"corpus.train_rows": 300})
    refusal = (
        r"cannot read \d+ of 420 training and validation rows: their text mostly becomes '<unk>', or nothing; take"
    )
    with pytest.raises(InputError, match=refusal):
        prepare_run(config, tmp_path / "cache")


def test_the_record_says_which_token_ends_a_row_and_what_names_this_token(tmp_path: Path) -> None:
    config = config_of_a_tokenizer(tmp_path, 100)
    data, facts = prepare_run(config, tmp_path / "cache")
    assert {key: facts["tokenizer"][key] for key in ("eos", "eos_from", "switched_off")} == {
        "eos": "</s>",
        "eos_from": "tokenizer_config.json",
        "switched_off": (),
    }
    other, facts = prepare_run(override(config, {"tokens.eos": "<eos>"}), tmp_path / "cache")
    assert (facts["tokenizer"]["eos"], facts["tokenizer"]["eos_from"]) == ("<eos>", "tokens.eos")
    assert (data.train.eos_id, other.train.eos_id) == (2, 3)
    _, facts = prepare_run(small_config(tmp_path), tmp_path / "cache")
    assert (facts["tokenizer"]["eos"], facts["tokenizer"]["eos_from"]) == ("</s>", "tokenizer.json")


def test_settings_added_later_leave_the_keys_of_older_runs_unchanged_at_their_defaults() -> None:
    """The expected key is that of the program that wrote this record, before the settings below existed."""
    base = from_dict(read_record(ROOT / "results" / "record" / "early_stage_books").spec["base"])
    assert data_key(base) == "77d1aaa4c8fbd387"
    for later in (
        {"tokens.tokenizer": "org/name", "tokens.eos": "</s>"},
        {"corpus.split": "test"},
        {"corpus.eval_half": "choosing"},
    ):
        without = override(base, {key: value for key, value in later.items() if key == "tokens.tokenizer"})
        assert data_key(override(base, later)) != data_key(without)


def table_of_kind(folder: Path, kind: str) -> BigramTable:
    data, _ = prepare_run(small_config(folder, {"teacher.kind": kind}), folder / "cache")
    assert data.table is not None
    return data.table


def test_rival_teachers_know_less_than_bigrams(tmp_path: Path) -> None:
    """Uniform rows are flat, unigram rows are all equal, and shuffled rows have the entropies of the bigram rows."""
    tables = {kind: table_of_kind(tmp_path, kind) for kind in ("bigram", "shuffled", "unigram", "uniform")}
    seen = np.flatnonzero(np.diff(tables["bigram"].indptr))
    rows = {kind: np.array([table.row(c) for c in seen]) for kind, table in tables.items()}
    for kind, row_CxV in rows.items():
        np.testing.assert_allclose(row_CxV.sum(1), 1, atol=1e-6, err_msg=kind)
    assert np.ptp(rows["uniform"]) < 1e-9
    assert np.ptp(rows["unigram"], axis=0).max() < 1e-9 and np.ptp(rows["unigram"][0]) > 0.01
    assert not np.allclose(rows["shuffled"], rows["bigram"])
    entropies = {k: np.sort(-(r * np.log(np.where(r > 0, r, 1))).sum(1)) for k, r in rows.items()}
    np.testing.assert_allclose(entropies["shuffled"], entropies["bigram"], atol=1e-9)
    assert len({table.checksum for table in tables.values()}) == 4


def test_the_kneser_ney_estimate_uses_the_counts_that_exist_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    monkeypatch.setattr(teacher, "count", lambda blocks, _: counted.append(blocks.rows) or count(blocks))
    halves = [
        small_config(tmp_path, {"corpus.train_rows": 60, "corpus.eval_half": half})
        for half in ("choosing", "reporting")
    ]
    said: list[str] = []
    listed = prepare_runs(halves, tmp_path / "cache", said.append).facts["tables"]
    assert counted == [60]
    assert all(facts["kneser_ney_loss"] > 0 for facts in listed.values())
    assert len({facts["kneser_ney_loss"] for facts in listed.values()}) == 2, "each half has its own loss"
    told = " ".join(said)
    assert "; validation for choosing " in told and "; validation for the verdict " in told
    assert "its own loss on the validation text for choosing: infinite, because with mle an unseen pair has" in told
    last = listed[list(listed)[-1]]["kneser_ney_loss"]
    assert f"probability 0 ({last:.4f} with modified Kneser-Ney, which smooths the same counts)" in said[-1]


def test_the_kneser_ney_loss_is_none_if_kneser_ney_cannot_be_estimated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(settings: TeacherConfig, *rest: Any) -> BigramTable:
        if settings.smoothing == "modified_kneser_ney":
            raise InputError("too little text.")
        return made(settings, *rest)

    made = prepare.teacher_table
    monkeypatch.setattr(prepare, "teacher_table", refuse)
    _, facts = prepare_run(small_config(tmp_path, {"corpus.train_rows": 60}), tmp_path / "cache")
    assert (facts["teacher"]["eval_loss"], facts["teacher"]["kneser_ney_loss"]) == (None, None)


def test_a_ramp_has_no_table_and_counts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "teacher_table", lambda *_: pytest.fail("a table was made"))
    changes = {"teacher.kind": "ramp", "teacher.rows": "train_split", "corpus.train_rows": 300}
    config, said = small_config(tmp_path, changes), list[str]()
    prepared = prepare_runs([config], tmp_path / "cache", said.append)
    assert prepared.tables == {}
    assert said[-1] == "teacher ramp: no table, so no loss of its own"
    facts = {"rows": "none", "smoothing": "ramp", "bigrams": 0, "counted_tokens": 0, "checksum": "", "eval_loss": None}
    facts |= {"kind": "ramp"}
    assert prepared.facts["teacher"] == facts
    listed = prepared.facts["tables"][table_key(config)]
    assert {key: listed[key] for key in facts} == facts
    assert data_of(config, checksums(prepared.blocks, {}), prepared.blocks, {}).table is None


def test_several_runs_share_their_blocks_and_have_a_table_each(tmp_path: Path) -> None:
    configs = [
        small_config(tmp_path, changes)
        for changes in (
            {},
            {"seed": 3, "model.layers": 2, "optimizer.lr": 1e-2},
            {"teacher.smoothing": "witten_bell"},
            {"corpus.folds": 3, "corpus.fold": 1},
        )
    ]
    lines: list[str] = []
    prepared = prepare_runs(configs, tmp_path / "cache", lines.append)
    assert len(set(lines)) == len(lines), "a line about data that several runs share is printed once"
    assert set(prepared.blocks) == {data_key(config) for config in configs} and len(prepared.blocks) == 2
    assert set(prepared.tables) == {table_key(config) for config in configs} and len(prepared.tables) == 3
    alone, facts = prepare_run(configs[0], tmp_path / "cache")
    assert alone.table is not None
    assert prepared.tables[table_key(configs[0])].checksum == alone.table.checksum
    assert prepared.facts["corpus"] == facts["corpus"]
    found = data_of(configs[0], checksums(prepared.blocks, prepared.tables), prepared.blocks, prepared.tables)
    assert (found.train.checksum, found.eval.checksum) == (alone.train.checksum, alone.eval.checksum)
    assert {key: table["checksum"] for key, table in prepared.facts["tables"].items()} == {
        key: table.checksum for key, table in prepared.tables.items()
    }


def count_calls(patch: pytest.MonkeyPatch, module: Any, name: str, calls: dict[str, list[Any]]) -> None:
    """Note the first argument of each call of a function."""
    function = getattr(module, name)

    def noted(*arguments: Any, **named: Any) -> Any:
        calls.setdefault(name, []).append(arguments[0])
        return function(*arguments, **named)

    patch.setattr(module, name, noted)


OPENINGS = (
    (rows_lines, "_scan"),
    (prepare, "permuted_rows"),
    (prepare, "corpus_tokenizer"),
    (Corpus, "batches"),
)
ONE_READING = {
    "_scan": 1,  # reads and hashes the whole file
    "permuted_rows": 1,
    "corpus_tokenizer": 1,
    "batches": 2,  # one to train or sample the tokenizer, one to tokenise the rows
}


@pytest.fixture
def tokenised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List of the tokenised texts; a text that is tokenised twice is in the list twice."""
    texts: list[str] = []
    encode = packing.encode_rows
    monkeypatch.setattr(packing, "encode_rows", lambda tokenizer, some: texts.extend(some) or encode(tokenizer, some))
    return texts


def test_eight_teachers_on_one_file_open_hash_permute_read_and_tokenise_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenised: list[str]
) -> None:
    calls: dict[str, list[Any]] = {}
    for module, name in (*OPENINGS, (prepare, "teacher_table")):
        count_calls(monkeypatch, module, name, calls)
    teachers: list[dict[str, Any]] = [{"teacher.kind": kind} for kind in ("bigram", "shuffled", "unigram", "uniform")]
    teachers += [{"teacher.smoothing": smoothing} for smoothing in ("add_k", "witten_bell")]
    teachers += [{"teacher.rows": rows} for rows in ("train_split", "all")]
    configs = [small_config(tmp_path, {"corpus.train_rows": 300, **changes}) for changes in teachers]
    assert len(prepare_runs(configs, tmp_path / "cache").tables) == 8
    counted = {name: len(found) for name, found in calls.items()}
    # eight tables, and the Kneser-Ney estimates of the two bigram tables whose loss is infinite
    assert counted == ONE_READING | {"teacher_table": 10}
    assert sorted(tokenised) == sorted(small_sentences()), "each row is tokenised once"


EVERY_TABLE: list[dict[str, Any]] = [
    {"teacher.rows": "student"},
    {"teacher.rows": "train_split"},
    {"teacher.rows": "all"},
    TRIGRAM,
    TRIGRAM | {"teacher.order": 4, "teacher.rows": "train_split"},
    {"corpus.train_rows": 350},
    {"corpus.eval_rows": 30, "corpus.eval_half": "choosing"},
    {"corpus.eval_rows": 30, "corpus.eval_half": "reporting"},
    *({"corpus.folds": 3, "corpus.fold": fold} for fold in range(3)),
    {"corpus.folds": 3, "corpus.fold": 1, "corpus.train_rows": 150, "corpus.eval_rows": 90},
    {"teacher.kind": "model", "teacher.model.steps": 2, "teacher.model.hidden": 16, "teacher.model.top_k": 4},
]


def test_tables_of_every_kind_tokenise_the_corpus_once_and_never_again_with_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenised: list[str]
) -> None:
    """Tables of several splits, folds, sizes and n-gram orders, and a model's answers, share each row's tokens."""
    calls: dict[str, list[Any]] = {}
    for module, name in OPENINGS:
        count_calls(monkeypatch, module, name, calls)
    shared = {"corpus.train_rows": 300, "tokens.tokenizer": shared_tokenizer(tmp_path)}
    configs = [small_config(tmp_path, shared | changes) for changes in EVERY_TABLE]
    prepared = prepare_runs(configs, tmp_path / "cache")
    assert len(prepared.tables) == len(configs)
    assert {name: len(found) for name, found in calls.items()} == ONE_READING
    assert sorted(tokenised) == sorted(small_sentences())
    calls.clear()
    again = prepare_runs(configs, tmp_path / "cache")
    assert len(calls["batches"]) == 1, "the second time only a sample for the tokenizer is read"
    assert len(tokenised) == 600
    assert {key: table.checksum for key, table in again.tables.items()} == {
        key: table.checksum for key, table in prepared.tables.items()
    }


def test_later_tables_do_not_tokenise_rows_that_are_in_the_cache(tmp_path: Path, tokenised: list[str]) -> None:
    shared = {"tokens.tokenizer": shared_tokenizer(tmp_path)}
    # `student` tokenises 300 training and 120 validation rows, `train_split` the 180 other rows of the split
    for rows, fresh in {"student": 420, "train_split": 180, "all": 0}.items():
        tokenised.clear()
        config = small_config(tmp_path, shared | {"corpus.train_rows": 300, "teacher.rows": rows})
        table = prepare_run(config, tmp_path / "cache")[0].table
        assert len(tokenised) == fresh
        alone = prepare_run(config, tmp_path / rows)[0].table
        assert table is not None and alone is not None and table.checksum == alone.checksum


def test_folds_share_corpus_permutation_and_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenised: list[str]
) -> None:
    calls: dict[str, list[Any]] = {}
    for module, name in OPENINGS:
        count_calls(monkeypatch, module, name, calls)
    changes = {"corpus.folds": 3, "tokens.tokenizer": shared_tokenizer(tmp_path)}
    configs = [small_config(tmp_path, {**changes, "corpus.fold": fold}) for fold in range(3)]
    prepare_runs(configs, tmp_path / "cache")
    assert {name: len(found) for name, found in calls.items()} == ONE_READING
    assert len(tokenised) == 600, "each third of the rows trains in two folds and validates in one"


def test_runs_that_differ_in_their_validation_rows_share_their_training_blocks_and_table(tmp_path: Path) -> None:
    configs = [small_config(tmp_path, {"corpus.eval_rows": rows}) for rows in (50, 100)]
    prepared = prepare_runs(configs, tmp_path / "cache")
    (train, few), (train_too, many) = (prepared.blocks[data_key(config)] for config in configs)
    table, table_too = (prepared.tables[table_key(config)] for config in configs)
    assert train is train_too and table is table_too
    arrays = sum(array.nbytes for array in vars(table).values() if isinstance(array, np.ndarray))
    assert prepared.nbytes == train.stream_N.nbytes + few.stream_N.nbytes + many.stream_N.nbytes + arrays


def test_both_halves_of_the_validation_rows_share_training_blocks_and_table_and_have_losses_of_their_own(
    tmp_path: Path,
) -> None:
    settings = {"corpus.eval_rows": 50, "teacher.smoothing": "witten_bell"}
    whole, *configs = (
        small_config(tmp_path, settings | {"corpus.eval_half": half}) for half in ("whole", "choosing", "reporting")
    )
    prepared = prepare_runs(configs, tmp_path / "cache")
    (train, first), (train_too, second) = (prepared.blocks[data_key(config)] for config in configs)
    table, table_too = (prepared.tables[table_key(config)] for config in configs)
    assert train is train_too and table is table_too
    # the training blocks and the table are put into the object store once, not once for each half
    once = ray_bytes((prepared.blocks, prepared.tables))
    assert once - ray_bytes(({"": (train, first)}, {"": table})) < second.stream_N.nbytes + 4096, "put once"
    alone, facts = prepare_run(whole, tmp_path / "cache")
    assert alone.eval.checksum == first.checksum != second.checksum
    losses = [prepared.facts["tables"][table_key(config)]["eval_loss"] for config in configs]
    assert losses == [teacher.teacher_loss(table, blocks) for blocks in (first, second)]
    assert losses[0] == facts["teacher"]["eval_loss"] != losses[1]
    assert [prepared.facts["tables"][table_key(c)]["blocks"] for c in configs] == [data_key(c) for c in configs]


def test_the_halves_of_an_official_split_divide_its_validation_rows(tmp_path: Path) -> None:
    (tmp_path / "official").mkdir()
    for name in ("train", "test"):
        rows = [f"{name} {sentence}" for sentence in small_sentences(200)]
        (tmp_path / "official" / f"{name}.txt").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    changes = {"corpus.source": str(tmp_path / "official"), "corpus.split": "test"}
    configs = [small_config(tmp_path, changes | {"corpus.eval_half": half}) for half in ("choosing", "reporting")]
    rows = [split_rows(open_corpus(config.corpus).rows, config.corpus).eval for config in configs]
    assert sorted(np.concatenate(rows)) == sorted(split_rows(200, replace(configs[0].corpus, eval_half="whole")).eval)
    assert [prepare_run(config, tmp_path / "cache")[0].eval.rows for config in configs] == [20, 20]


def test_the_teacher_of_a_fold_counts_only_as_many_tokens_as_the_fold_trains_on(tmp_path: Path) -> None:
    """Each table counts as many tokens as its fold's training rows have, and no validation row is a training row."""
    configs = [small_config(tmp_path, {"corpus.folds": 3, "corpus.fold": fold}) for fold in range(3)]
    prepared = prepare_runs(configs, tmp_path / "cache")
    for config in configs:
        train, _ = prepared.blocks[data_key(config)]
        assert prepared.tables[table_key(config)].counted_tokens == len(train.stream_N)
        rows = split_rows(600, config.corpus)
        assert not set(rows.train) & set(rows.eval)


def shared_tokenizer(folder: Path) -> str:
    """Path of a folder with a tokenizer that all folds share."""
    texts = folder / "tokenizer"
    texts.mkdir()
    train_bpe(iter(small_sentences()), 512).save(str(texts / "tokenizer.json"))
    return str(texts)


@pytest.mark.parametrize("packing", ["packed", "as_published"])
@pytest.mark.parametrize("limit", [None, 150])
def test_tables_of_k_folds_equal_those_of_each_fold_alone_and_common_parts_are_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str, limit: int | None
) -> None:
    """Folds share the counts of common parts; as_published parts that do not fill a string are counted fold by fold."""
    rows = 400 if packing == "as_published" and limit is None else limit
    changes = {"corpus.folds": 3, "tokens.tokenizer": shared_tokenizer(tmp_path), "tokens.packing": packing}
    configs = [small_config(tmp_path, {**changes, "corpus.train_rows": rows, "corpus.fold": i}) for i in range(3)]
    configs += [override(config, {"teacher.smoothing": "witten_bell"}) for config in configs]
    counted: list[int] = []
    monkeypatch.setattr(teacher, "count", lambda blocks, _: counted.append(blocks.rows) or count(blocks))
    prepared = prepare_runs(configs, tmp_path / "cache")

    separate = packing == "packed" or limit is None  # 75 rows do not fill a string of 200
    assert counted == ([(rows or 600) // (2 if rows else 3)] * 3 if separate else [150] * 3)
    for config in configs:
        table = prepared.tables[table_key(config)]
        train, _ = prepared.blocks[data_key(config)]
        alone = estimate_table(
            count(train),
            config.teacher.smoothing,
            None,
            tokenizer_fingerprint=table.tokenizer_fingerprint,
            rows=config.teacher.rows,
        )
        assert table.checksum == alone.checksum


@pytest.mark.parametrize("packing", ["packed", "as_published"])
def test_n_gram_tables_of_k_folds_equal_those_of_each_fold_alone_and_each_row_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str
) -> None:
    """No order leaks: the counts in a fold's table hold no row that validates in that fold."""
    changes = {"corpus.folds": 3, "tokens.tokenizer": shared_tokenizer(tmp_path), "tokens.packing": packing, **TRIGRAM}
    configs = [small_config(tmp_path, {**changes, "corpus.train_rows": 400, "corpus.fold": i}) for i in range(3)]
    counted: list[int] = []
    monkeypatch.setattr(
        teacher, "count_of_order", lambda blocks, *more: counted.append(blocks.rows) or count_of_order(blocks, *more)
    )
    prepared = prepare_runs(configs, tmp_path / "cache")

    assert counted == [200] * 3
    for config in configs:
        table = prepared.tables[table_key(config)]
        train, _ = prepared.blocks[data_key(config)]
        alone = estimate_ngrams(
            count_of_order(train, 3), tokenizer_fingerprint=prepared.facts["tokenizer"]["fingerprint"], rows="student"
        )
        assert table.checksum == alone.checksum
        assert packing != "packed" or table.counted_tokens == len(train.stream_N)


def test_an_n_gram_teacher_is_made_once_found_again_and_recorded(tmp_path: Path) -> None:
    config, said = small_config(tmp_path, TRIGRAM), list[str]()
    first, facts = prepare_run(config, tmp_path / "cache", said.append)
    (kept,) = (tmp_path / "cache" / "tables").glob("*/table.bin")
    made = kept.stat().st_mtime_ns
    again, _ = prepare_run(config, tmp_path / "cache")
    assert kept.stat().st_mtime_ns == made
    assert isinstance(first.table, NgramTable) and again.table is not None
    assert again.table.checksum == first.table.checksum == facts["teacher"]["checksum"]
    assert facts["teacher"]["smoothing"] == "modified_kneser_ney of order 3"
    assert f"{first.table.ngrams[2]:,} 3-grams of " in said[-1]
    bigram = small_config(tmp_path, {"teacher.smoothing": "modified_kneser_ney"})
    assert 0 < facts["teacher"]["eval_loss"] < prepare_run(bigram, tmp_path / "cache")[1]["teacher"]["eval_loss"]


def test_the_blocks_of_a_fold_equal_those_of_its_rows_tokenised_at_once(tmp_path: Path) -> None:
    changes = {"corpus.folds": 3, "corpus.fold": 1, "corpus.train_rows": 300, "tokens.tokenizer": "train:512"}
    config = small_config(tmp_path, changes)
    data, facts = prepare_run(config, tmp_path / "cache")
    corpus = open_corpus(config.corpus)
    row_ids_R = split_rows(corpus.rows, config.corpus).train
    tokenizer = corpus_tokenizer("train:512", corpus, row_ids_R, tmp_path / "cache")
    whole = token_blocks(corpus, row_ids_R, tokenizer, config.tokens, tmp_path / "cache")
    np.testing.assert_array_equal(data.train.ids_BxT, whole.ids_BxT)
    np.testing.assert_array_equal(data.train.stream_N, whole.stream_N)
    assert data.train.checksum == whole.checksum
    assert facts["corpus"]["train_rows"] == 300


def test_the_facts_of_a_table_with_infinite_loss_have_the_loss_of_its_kneser_ney_estimate(tmp_path: Path) -> None:
    """mle gives unseen pairs no probability, so the loss is infinite; the gate of a report needs a finite loss."""
    unsmoothed, smoothed, uniform = (
        prepare_run(small_config(tmp_path, {"corpus.train_rows": 300, **changes}), tmp_path / "cache")[1]["teacher"]
        for changes in ({}, {"teacher.smoothing": "modified_kneser_ney"}, {"teacher.kind": "uniform"})
    )
    assert unsmoothed["eval_loss"] is None
    assert unsmoothed["kneser_ney_loss"] == smoothed["eval_loss"] > 0
    assert "kneser_ney_loss" not in smoothed and "kneser_ney_loss" not in uniform
