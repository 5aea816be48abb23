"""The ledger: rows are appended, never rewritten, and stay readable if its writer is killed."""

import json
from pathlib import Path

import pytest

from trainable.errors import DamagedFile
from trainable.record.ledger import LedgerTail, append_row, read_lines, read_reports


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "trial" / "metrics.jsonl"
    for step in (0, 20, 40):
        append_row(path, {"step": step, "eval_loss": 5 - step / 100})
    return path


def test_rows_are_read_back_in_order(ledger: Path) -> None:
    assert read_lines(ledger) == [{"step": s, "eval_loss": 5 - s / 100} for s in (0, 20, 40)]


def test_absent_ledger_has_no_rows(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "none.jsonl") == read_reports(tmp_path / "none.jsonl") == []


def test_the_last_row_of_a_step_counts_and_rows_are_ordered_by_step(ledger: Path) -> None:
    append_row(ledger, {"step": 20, "eval_loss": 1.5})
    assert [(row["step"], row["eval_loss"]) for row in read_reports(ledger)] == [(0, 5.0), (20, 1.5), (40, 4.6)]
    assert len(read_lines(ledger)) == 4


@pytest.mark.parametrize("half", [b"{", b'{"step": 60, "eval_loss": 4.4', b'{"step": 60}', b"\xff\xfe"])
def test_an_unfinished_last_line_is_not_read_and_is_cut_off_before_the_next_row(ledger: Path, half: bytes) -> None:
    whole = ledger.read_bytes()
    ledger.write_bytes(whole + half)
    assert [row["step"] for row in read_lines(ledger)] == [0, 20, 40]
    append_row(ledger, {"step": 60})
    assert ledger.read_bytes().startswith(whole)
    assert [row["step"] for row in read_lines(ledger)] == [0, 20, 40, 60]


def test_an_unfinished_first_line_is_cut_off_too(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"st')
    assert read_lines(path) == []
    append_row(path, {"step": 0})
    assert read_lines(path) == [{"step": 0}]


@pytest.mark.parametrize("damage", [b'{"step": 20, "ev', b"[1, 2]", b"", b"\xff\xfe", b'{"step": 20}', b'{"a": NaN}'])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_damage_before_the_end_names_the_line(ledger: Path, damage: bytes, number: int) -> None:
    lines = ledger.read_bytes().splitlines()
    lines[number - 1] = damage
    ledger.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(DamagedFile, match=rf"metrics.jsonl is damaged \(line {number}: ") as told:
        read_lines(ledger)
    assert told.value.path == ledger


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_lacks_are_written_as_null(tmp_path: Path, value: float) -> None:
    path = tmp_path / "metrics.jsonl"
    append_row(path, {"step": 0, "train_loss": value, "tokens": 3})
    assert path.read_text().startswith('{"step": 0, "train_loss": null, "tokens": 3, "checksum": ')


def test_numbers_keep_all_their_digits(tmp_path: Path) -> None:
    append_row(tmp_path / "m.jsonl", {"step": 0, "eval_loss": 1 / 3})
    assert read_lines(tmp_path / "m.jsonl")[0]["eval_loss"] == 1 / 3
    assert json.loads((tmp_path / "m.jsonl").read_text())["eval_loss"] == 1 / 3


def test_a_tail_reads_added_rows_and_never_an_unfinished_line(ledger: Path) -> None:
    tail = LedgerTail(ledger)
    assert tail.refresh() and tail.rows == read_lines(ledger)
    assert not tail.refresh()
    with open(ledger, "ab") as stream:
        stream.write(b'{"step": 60, "eval')
    assert not tail.refresh()
    append_row(ledger, {"step": 60})  # cuts the half line off
    assert tail.refresh() and tail.rows == read_lines(ledger)
    assert [row["step"] for row in tail.rows] == [0, 20, 40, 60]


def test_a_tail_starts_again_if_its_ledger_was_replaced_cut_or_removed(ledger: Path) -> None:
    tail = LedgerTail(ledger)
    assert tail.refresh()
    other = ledger.with_name("other.jsonl")
    for step in range(5):
        append_row(other, {"step": step})
    other.replace(ledger)
    assert tail.refresh() and [row["step"] for row in tail.rows] == [0, 1, 2, 3, 4]
    ledger.write_bytes(ledger.read_bytes().splitlines(keepends=True)[0])
    assert tail.refresh() and [row["step"] for row in tail.rows] == [0]
    ledger.unlink()
    assert tail.refresh() and tail.rows == []
    assert not tail.refresh()


def test_a_tail_names_a_damaged_line_by_its_number_in_the_file(ledger: Path) -> None:
    tail = LedgerTail(ledger)
    tail.refresh()
    with open(ledger, "ab") as stream:
        stream.write(b"{}\n")
    for _ in range(2):
        with pytest.raises(DamagedFile, match="line 4: its checksum does not match"):
            tail.refresh()
    assert [row["step"] for row in tail.rows] == [0, 20, 40]
