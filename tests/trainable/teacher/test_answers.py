"""Claims about stored answers of a model: probabilities in half precision, and a file that is whole or refused."""

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_answers import BLOCKS, POSITIONS, V, answers_of, distributions, parent_of

from trainable.errors import DamagedFile, InputError
from trainable.teacher.answers import ARRAYS, FACTS, LEAST_RESIDUAL, Answers, kept, load_answers, residual, save_answers
from trainable.teacher.table import table_without_context

Array = np.ndarray[Any, Any]


def likeliest(p_NxV: Array, top_k: int) -> Array:
    return -np.sort(-p_NxV, axis=1)[:, :top_k]


@given(st.integers(0, 2**20), st.integers(1, 40), st.floats(0, 40))
@settings(max_examples=60)
def test_lambda_is_at_least_the_mass_that_the_model_left_to_other_tokens(seed: int, top_k: int, sharp: float) -> None:
    """Lambda is above 0 for flat and for sharp distributions."""
    p_NxK = likeliest(distributions((50,), 40, seed, sharp), top_k)
    left_N = residual(kept(p_NxK))
    assert left_N.dtype == np.float32
    assert (left_N >= np.maximum(1 - p_NxK.sum(1, dtype=np.float64), LEAST_RESIDUAL)).all()
    np.testing.assert_array_equal(left_N, 1 - kept(p_NxK).sum(1, dtype=np.float64))


@given(st.integers(0, 2**20), st.integers(2, 40), st.floats(0, 10))
@settings(max_examples=30)
def test_only_the_largest_probability_differs_by_more_than_its_rounding(seed: int, top_k: int, sharp: float) -> None:
    p_NxK = likeliest(distributions((50,), 40, seed, sharp), top_k)
    np.testing.assert_array_equal(kept(p_NxK)[:, 1:], p_NxK[:, 1:].astype(np.float16))
    np.testing.assert_allclose(kept(p_NxK)[:, 0], p_NxK[:, 0], atol=2**-10)


def test_a_model_that_is_certain_leaves_one_rounding_to_other_tokens() -> None:
    half_1xK = kept(np.array([[1, 0, 0]], np.float32))
    assert half_1xK[0, 0] == 1 - 2**-11, "not the largest number below 1"
    assert residual(half_1xK) == 2**-11


def test_a_probability_too_small_for_half_precision_goes_to_the_parent() -> None:
    half_1xK = kept(np.array([[0.5, 1e-8]], np.float32))
    assert half_1xK.tolist() == [[0.5, 0]]
    assert residual(half_1xK) == 0.5


@pytest.mark.parametrize("top_k", [1, 4, V])
def test_every_row_sums_to_one(top_k: int) -> None:
    answers = answers_of(top_k=top_k)
    places = [(block, position) for block in range(BLOCKS) for position in range(POSITIONS)]
    rows = [answers.row(block, position, token) for block, position in places for token in range(V)]
    np.testing.assert_allclose(np.sum(rows, axis=1), 1, atol=1e-6)


def test_a_row_has_the_models_probabilities_of_the_likeliest_tokens_plus_a_share_of_the_bigrams() -> None:
    p_BxTxV = distributions()
    answers = answers_of(p_BxTxV, top_k=V // 2)
    row_V, said_V = answers.row(2, 3, token=5), p_BxTxV[2, 3].astype(np.float64)
    first = np.argsort(-said_V)[: V // 2]
    others = np.setdiff1d(np.arange(V), first)
    left_V = (1 - said_V[first].sum()) * answers.parent.row(5)
    np.testing.assert_allclose(row_V[others], left_V[others], atol=1e-3)
    np.testing.assert_allclose(row_V[first], said_V[first] + left_V[first], atol=1e-3)


@pytest.mark.parametrize(("vocab_size", "bytes_each"), [(V, 4), (65_536, 4), (65_537, 6)])
def test_an_entry_takes_four_bytes_up_to_65536_tokens(vocab_size: int, bytes_each: int) -> None:
    answers = answers_of(distributions((1, 2), vocab_size))
    assert answers.nbytes - answers.parent.nbytes == 1 * 2 * 4 * bytes_each


def test_loaded_answers_equal_the_saved_ones_and_cannot_be_written(tmp_path: Path) -> None:
    answers = answers_of()
    save_answers(answers, tmp_path / "made" / "answers.bin")
    loaded = load_answers(tmp_path / "made" / "answers.bin", expect_tokenizer="abc")
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(answers, name))
        assert getattr(loaded, name).dtype == getattr(answers, name).dtype
        assert not getattr(loaded, name).flags.writeable
        assert getattr(loaded, name).flags.aligned
    assert [getattr(loaded, name) for name in FACTS] == [getattr(answers, name) for name in FACTS]
    assert loaded.checksum == answers.checksum == pickle.loads(pickle.dumps(loaded, protocol=5)).checksum
    assert (tmp_path / "made" / "answers.bin").read_bytes()[-32:].hex() == answers.checksum


def test_the_checksum_of_fixed_answers_stays() -> None:
    """The checksum of fixed answers stays. If not, raise the format's version, or old files will look damaged."""
    answers = Answers(
        ids_BxTxk=np.array([[[0, 2], [1, 3]]], np.uint16),
        p_BxTxk=np.array([[[0.5, 0.25], [0.75, 0.125]]], np.float16),
        parent=table_without_context(
            np.full(4, 0.25), smoothing="by hand", tokenizer_fingerprint="abc", counted_tokens=7, rows="student"
        ),
        vocab_size=4,
        model="by hand",
        tokenizer_fingerprint="abc",
        blocks_fingerprint="blocks",
        counted_tokens=7,
    )
    assert answers.checksum == "e5c539cf8639a2b1c86f0229f197a55b5e858bfa12b29444a59f18b0bcc27787"


def test_a_changed_array_or_fact_changes_the_checksum() -> None:
    answers = answers_of()
    changed = [replace(answers, model="another"), replace(answers, blocks_fingerprint="others")]
    changed.append(replace(answers, parent=replace(answers.parent, base_V=answers.parent.base_V / 2)))
    for name in ARRAYS:
        array = getattr(answers, name).copy()
        array[0] = array[0] / 2
        changed.append(replace(answers, **{name: array}))
    assert len({answers.checksum, *(other.checksum for other in changed)}) == 1 + len(changed)


def test_a_flipped_bit_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.bin"
    save_answers(answers_of(distributions((1, 2))), path)
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        with pytest.raises(InputError, match=r"answers\.bin .*ask the teacher again") as caught:
            load_answers(path)
        assert isinstance(caught.value, DamagedFile) == (at >= 12), "wrong class of error for this byte"


def test_a_file_that_is_cut_off_or_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.bin"
    save_answers(answers_of(), path)
    content = path.read_bytes()
    for damaged in (b"", content[:10], content[:20], content[: len(content) // 2], content[:-1], content + b"\0"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"answers\.bin .*ask the teacher again"):
            load_answers(path)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ids_BxTxk", V, "outside its vocabulary"),
        ("p_BxTxk", np.nan, "negative or no number"),
        ("p_BxTxk", -0.5, "negative or no number"),
        ("p_BxTxk", 1.0, "sum to more than 1"),
    ],
)
def test_an_undamaged_file_with_impossible_values_is_refused(
    tmp_path: Path, name: str, value: float, reason: str
) -> None:
    """A file whose checksum is right but whose values are impossible is refused."""
    answers = answers_of()
    array = getattr(answers, name).copy()
    array.flat[1] = value
    save_answers(replace(answers, **{name: array}), tmp_path / "answers.bin")
    with pytest.raises(DamagedFile, match=reason):
        load_answers(tmp_path / "answers.bin")


def test_an_undamaged_file_with_an_impossible_parent_is_refused(tmp_path: Path) -> None:
    answers = answers_of()
    endless = replace(answers.parent, base_V=np.full(V, np.inf, np.float32))
    save_answers(replace(answers, parent=endless), tmp_path / "answers.bin")
    with pytest.raises(DamagedFile, match="negative or no number"):
        load_answers(tmp_path / "answers.bin")


def test_answers_whose_shape_is_not_that_of_their_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.bin"
    save_answers(answers_of(), path)
    body = path.read_bytes()[:-32].replace(b'"shape": [6', b'"shape": [5')
    path.write_bytes(body + hashlib.sha256(body).digest())
    with pytest.raises(DamagedFile, match="do not fill it"):
        load_answers(path)


def test_answers_of_a_model_with_another_tokenizer_are_refused(tmp_path: Path) -> None:
    save_answers(answers_of(), tmp_path / "answers.bin")
    with pytest.raises(InputError, match="is of a model with tokenizer abc, this run has xyz"):
        load_answers(tmp_path / "answers.bin", expect_tokenizer="xyz")


def test_a_missing_answer_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the answer file .*absent[.]bin does not exist: ask the teacher first"):
        load_answers(tmp_path / "absent.bin")


def test_arrays_of_another_type_or_shape_are_refused() -> None:
    answers = answers_of()
    for name, dtype in (("p_BxTxk", np.float32), ("ids_BxTxk", np.int64)):
        with pytest.raises(InputError, match=f"answers need {name} as"):
            replace(answers, **{name: getattr(answers, name).astype(dtype)})


def test_a_parent_with_another_vocabulary_is_refused() -> None:
    with pytest.raises(InputError, match=f"answers over {V} tokens have a parent of {V + 1}"):
        replace(answers_of(), parent=parent_of(V + 1))
