"""Files of a folder or a pattern that are read as the corpus: one split, one form, no hidden file, no text twice."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainable.config import CorpusConfig
from trainable.errors import InputError
from trainable.text.corpus import Corpus, open_corpus


def opened(source: Path | str, **settings: Any) -> Corpus:
    return open_corpus(CorpusConfig(source=str(source), **settings))


def texts_of(corpus: Corpus) -> list[str | None]:
    return [text for batch in corpus.batches() for text in batch.to_pylist()]


def write(folder: Path, *names: str) -> Path:
    """Write files to a folder; each file has one row, its own name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in (".parquet", ".parq", ".pq"):
            pq.write_table(pa.table({"text": [name]}), path)
        elif path.suffix == ".csv":
            path.write_text(f"text\n{name}\n")
        elif path.suffix in (".jsonl", ".ndjson", ".json"):
            path.write_text(json.dumps({"text": name}) + "\n")
        else:
            path.write_text(f"{name}\n")
    return folder


# ---- splits ------------------------------------------------------------------------------------------------------

TRAIN_AND_OTHERS = [
    ["train-00000-of-00001.parquet", "test-00000-of-00001.parquet", "validation-00000-of-00001.parquet"],
    ["train.jsonl", "test.jsonl"],
    ["train.csv", "dev.csv"],
    ["train.txt", "valid.txt"],
    ["train.jsonl", "test.csv"],
    ["train/part-0.parquet", "test/part-0.parquet"],
    ["train/a.jsonl", "validation/a.jsonl", "test/a.jsonl"],
    ["data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet", "README.md", ".gitattributes"],
    ["data/train/a.txt", "data/test/a.txt"],
    ["train.parquet", "test.parquet", "extra.parquet"],
    ["train/00.jsonl", "test.jsonl", "val.jsonl"],
    ["train.parquet", "test/part-0.parquet"],
    ["split=train/0.parquet", "split=test/0.parquet"],
]


@pytest.mark.parametrize("names", TRAIN_AND_OTHERS, ids=lambda names: names[1])
def test_of_files_named_by_splits_train_is_read_alone_and_said(tmp_path: Path, names: list[str]) -> None:
    corpus = opened(write(tmp_path, *names))
    assert (texts_of(corpus), corpus.split) == ([names[0]], "train")
    assert any(note.startswith("split train is read, not ") for note in corpus.notes)


@pytest.mark.parametrize("names", TRAIN_AND_OTHERS, ids=lambda names: names[1])
def test_a_pattern_reads_train_alone_too(tmp_path: Path, names: list[str]) -> None:
    write(tmp_path, *names)
    assert texts_of(opened(tmp_path / "**" / f"*{Path(names[0]).suffix}")) == [names[0]]


def test_another_split_can_be_set(tmp_path: Path) -> None:
    folder = write(tmp_path, "train.jsonl", "val-00.jsonl", "val-01.jsonl")
    for split in ("validation", "val"):
        corpus = opened(folder, split=split)
        assert (texts_of(corpus), corpus.split) == (["val-00.jsonl", "val-01.jsonl"], "validation")
    assert opened(folder).fingerprint != opened(folder, split="val").fingerprint


@pytest.mark.parametrize(
    "names", [["test.jsonl", "dev.jsonl"], ["test/a.txt", "validation/a.txt"], ["eval.csv", "a.csv"], ["test/a.txt"]]
)
def test_splits_without_train_are_refused_with_their_names(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(InputError, match=r"has no split 'train': set corpus.split to one of 'test'"):
        opened(write(tmp_path, *names))


@pytest.mark.parametrize(
    "names",
    [
        ["part-0.parquet", "part-1.parquet"],
        ["contest.parquet", "training_notes.parquet"],
        ["a cat.txt", "a train.txt", "test tubes.txt"],
    ],
)
def test_files_that_are_not_named_by_splits_are_all_read(tmp_path: Path, names: list[str]) -> None:
    corpus = opened(write(tmp_path, *names))
    assert (texts_of(corpus), corpus.split) == (names, None)
    with pytest.raises(InputError, match=r"corpus.split is 'test' but .* are not named by splits: leave it out"):
        opened(tmp_path, split="test")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["wiki_heldout.txt", "wiki_train.txt"], "warning: wiki_train may be named for a split"),
        (["a.txt", "b.txt"], ""),
    ],
)
def test_a_name_that_may_be_that_of_a_split_is_reported_if_all_files_are_read(
    tmp_path: Path, names: list[str], told: str
) -> None:
    corpus = opened(write(tmp_path, *names))
    assert texts_of(corpus) == names
    note = f"{told}, yet all are read as one text (give a pattern to read some)"
    assert corpus.notes[1:2] == ((note,) if told else ())


def test_a_file_or_a_pattern_of_one_split_is_read_as_given(tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", "test-0.jsonl", "test-1.jsonl")
    assert texts_of(opened(tmp_path / "test-0.jsonl")) == ["test-0.jsonl"]
    corpus = opened(tmp_path / "test-*.jsonl")
    assert (texts_of(corpus), corpus.split) == (["test-0.jsonl", "test-1.jsonl"], "test")
    with pytest.raises(InputError, match=r"corpus.split is 'test' but .* has no splits"):
        opened(tmp_path / "test-0.jsonl", split="test")


def test_all_splits_can_be_read_as_one_text(tmp_path: Path) -> None:
    folder = write(tmp_path, "train.jsonl", "test.jsonl", "a.jsonl")
    corpus = opened(folder, split="all")
    assert texts_of(corpus) == ["a.jsonl", "test.jsonl", "train.jsonl"]
    assert "splits test, train are read as one text" in corpus.notes
    assert texts_of(opened(folder / "a.jsonl", split="all")) == ["a.jsonl"]


def test_the_built_in_text_has_no_splits() -> None:
    with pytest.raises(InputError, match=r"corpus.split is 'test' but builtin has no splits"):
        opened("builtin", split="test")


def test_the_train_split_of_a_saved_data_set_is_read_unless_another_is_set(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    parts = {name: datasets.Dataset.from_dict({"text": [name]}) for name in ("test", "train")}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "both")
    corpus = opened(tmp_path / "both")
    assert (texts_of(corpus), corpus.split) == (["train"], "train")
    assert corpus.notes == ("split train is read, not test (corpus.split)",)
    assert texts_of(opened(tmp_path / "both", split="eval")) == ["test"]
    assert texts_of(opened(tmp_path / "both", split="all")) == ["test", "train"]
    with pytest.raises(InputError, match=r"has no split 'validation': set corpus.split to one of 'test', 'train'"):
        opened(tmp_path / "both", split="validation")
    assert texts_of(opened(tmp_path / "both" / "test")) == ["test"]
    with pytest.raises(InputError, match="is one data set without splits"):
        opened(tmp_path / "both" / "test", split="test")


# ---- forms, folders, patterns --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["a.jsonl", "b.ndjson", "c.json"],
        ["a.txt", "b.TXT"],
        ["a.csv", "b.csv"],
        ["a.parquet", "b.PARQUET", "c.parq", "d.pq"],
        ["data/a.jsonl", "data/b.jsonl"],
        ["part-1.txt", "part-10.txt", "part-2.txt"],
        ["rows.parquet/part-0.parquet", "rows.parquet/part-1.parquet"],
    ],
)
def test_a_folder_of_shards_is_read_in_the_order_of_their_names(tmp_path: Path, names: list[str]) -> None:
    write(tmp_path, *reversed(names))
    corpus = opened(tmp_path)
    assert texts_of(corpus) == names
    assert corpus.notes[0].startswith(f"{len(names)} ") and Path(names[-1]).name in corpus.notes[0]


def test_hidden_files_and_other_kinds_are_left_out_and_told(tmp_path: Path) -> None:
    folder = write(
        tmp_path, "part-0.parquet", "part-1.parquet.incomplete", "notes.txt", "_SUCCESS", "old/part-2.parquet"
    )
    for name in ("._part-0.parquet", ".DS_Store", "_metadata.parquet", "__MACOSX/._part-0.parquet", ".cache/a.parquet"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0\5\26\7")
    corpus = opened(folder)
    assert texts_of(corpus) == ["part-0.parquet"]
    assert corpus.notes == (
        "1 parquet file, part-0.parquet",
        "not read: ._part-0.parquet, _metadata.parquet, part-1.parquet.incomplete and 2 more",
    )
    assert texts_of(opened(folder / "*")) == ["part-0.parquet"]
    assert texts_of(opened(folder / "**" / "*.parquet")) == ["old/part-2.parquet", "part-0.parquet"]


def test_readme_license_and_other_files_beside_a_data_set_are_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path, "data/a.jsonl", "README.txt", "LICENSE.txt", "requirements.txt", "dataset_info.json")
    assert texts_of(opened(folder)) == ["data/a.jsonl"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a.jsonl", "b.txt"], r"several forms \(a.jsonl; b.txt\): give a pattern"),
        (
            ["en/a.txt", "fr/a.txt"],
            r"files in several folders \(en, fr\): give one of them, or a pattern such as '.*/\*/\*'",
        ),
        (["a.txt", "test/b.txt"], r"files \(a.txt\) and folders of files \(test\): give one of the folders"),
        (["a.md", "b.doc"], "holds no files of text and no saved data set: give a .parquet"),
        (["a.jsonl", "a.json"], r"holds a.json, a.jsonl, which seem to be one text twice: remove all but one"),
    ],
)
def test_a_folder_that_is_not_one_corpus_is_refused(tmp_path: Path, names: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        opened(write(tmp_path, *names))


def test_a_text_packed_and_unpacked_in_one_folder_is_refused(tmp_path: Path) -> None:
    import gzip

    write(tmp_path, "a.jsonl")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    with pytest.raises(InputError, match=r"holds a.jsonl, a.jsonl.gz, which seem to be one text twice"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("beside", "source", "kind"),
    [
        ("_delta_log/00000000000000000000.json", "", "a Delta table"),
        ("_delta_log/00000000000000000000.json", "data", "a Delta table"),
        (".hoodie/hoodie.properties", "", "a Hudi table"),
        ("metadata/v2.metadata.json", "", "an Iceberg table"),
        ("metadata/v2.metadata.json", "data", "an Iceberg table"),
    ],
)
def test_a_table_whose_folder_keeps_replaced_rows_is_refused(
    tmp_path: Path, beside: str, source: str, kind: str
) -> None:
    write(tmp_path, "data/old.parquet", "data/new.parquet", beside)
    with pytest.raises(InputError, match=rf"{tmp_path} is {kind}, whose files also hold rows that were deleted"):
        opened(tmp_path / source)


def test_what_spark_has_not_finished_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "part-00000.parquet", "_temporary/0/part-00001.parquet")
    with pytest.raises(InputError, match=r"holds _temporary/, which Spark removes when all is written: write it again"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["train-00000-of-00003.parquet", "train-00002-of-00003.parquet"], "only 2 of the 3 shards train-*-of-00003"),
        (["c4-train.00001-of-01024.jsonl"], "only 1 of the 1,024 shards c4-train.*-of-01024"),
        (["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00002.parquet"], None),
        (["part-1.parquet", "part-3.parquet"], None),
    ],
)
def test_shards_that_the_names_of_the_others_count_are_reported_as_missing(
    tmp_path: Path, names: list[str], missing: str | None
) -> None:
    warnings = [note for note in opened(write(tmp_path, *names)).notes if note.startswith("warning")]
    assert warnings == ([f"warning: {missing} are there"] if missing else [])


@pytest.mark.parametrize("names", [("a.parquet", "a - Copy.parquet"), ("a.jsonl", "a (1).jsonl"), ("a.txt", "a~.txt")])
def test_a_copy_beside_its_file_is_warned_of(tmp_path: Path, names: tuple[str, str]) -> None:
    """A row that occurs twice could be both a training row and a validation row."""
    write(tmp_path, names[0])
    (tmp_path / names[1]).write_bytes((tmp_path / names[0]).read_bytes())
    earlier, later = sorted(names)
    assert opened(tmp_path).notes[-1].startswith(f"warning: {later} is a copy of {earlier}: such rows train twice")


def test_shards_without_rows_do_not_count_as_copies(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", "b.parquet")
    for name in ("c.parquet", "d.parquet"):
        pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / name)
    assert opened(tmp_path).notes == ("4 parquet files, a.parquet to d.parquet",)


def test_a_link_to_a_missing_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    (tmp_path / "b.txt").symlink_to(tmp_path / "gone")
    for source in (tmp_path, tmp_path / "*.txt"):
        with pytest.raises(InputError, match=r"b\.txt is a link to a file that is gone"):
            opened(source)


def test_a_pattern_reads_what_it_matches_in_a_folder_whose_name_has_brackets(tmp_path: Path) -> None:
    folder = write(tmp_path / "a[b] *", "part-0.jsonl", "part-1.jsonl", "other.txt")
    assert texts_of(opened(folder / "part-?.jsonl")) == ["part-0.jsonl", "part-1.jsonl"]
    assert texts_of(opened(folder / "part-[1-9].jsonl")) == ["part-1.jsonl"]
    assert texts_of(opened(tmp_path / "a*" / "*.txt")) == ["other.txt"]


def test_the_name_of_an_existing_file_is_not_read_as_a_pattern(tmp_path: Path) -> None:
    write(tmp_path, "part[1].txt", "part1.txt")
    assert texts_of(opened(tmp_path / "part[1].txt")) == ["part[1].txt"]


@pytest.mark.parametrize("pattern", ["*.jsonl", "none/*.txt", "**.txt"])
def test_a_pattern_that_matches_no_readable_file_is_refused(tmp_path: Path, pattern: str) -> None:
    write(tmp_path, "a.txt", "b/a.md")
    with pytest.raises(InputError, match="no file matches"):
        opened(tmp_path / pattern)
    with pytest.raises(InputError, match=r"matches a.md but no file that can be read: give a .parquet"):
        opened(tmp_path / "b" / "*")
