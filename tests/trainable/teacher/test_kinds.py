"""Claims about trainable/teacher/kinds.py: what the controls of the bigram teacher know, and what they do not."""

import numpy as np
import pytest
from small_tables import EOS, IDS, V, counted, dense, random_stream

from trainable import names
from trainable.errors import InputError
from trainable.teacher.kinds import KINDS, SHUFFLE_SEED, Material, shuffled
from trainable.teacher.smoothing import estimate_table


def material(tokens, **chosen):
    return Material(counts=lambda: counted(tokens), vocab_size=V, **IDS, **chosen)


def test_controls_without_context_have_one_row_for_all():
    np.testing.assert_allclose(dense(KINDS["uniform"](material([3, 4, 3, EOS]))), 1 / V)
    one_row_V = [0, 0, 0.25, 0.5, 0.25, 0, 0, 0, 0]
    np.testing.assert_allclose(dense(KINDS["unigram"](material([3, 4, 3, EOS]))), np.tile(one_row_V, (V, 1)))


def test_a_uniform_teacher_counts_nothing():
    def never():
        raise AssertionError("it counted")

    table = KINDS["uniform"](Material(counts=never, vocab_size=V, **IDS))
    assert (table.counted_tokens, table.rows) == (0, "none")


def test_a_bigram_teacher_is_the_smoothed_table_and_a_shuffled_one_the_same_rows_in_another_order():
    tokens, chosen = random_stream(), {"smoothing": "add_k", "strength": 0.5, "min_count": 2}
    bigram = KINDS["bigram"](material(tokens, **chosen))
    assert bigram.checksum == estimate_table(counted(tokens), "add_k", 0.5, min_count=2, **IDS).checksum
    assert KINDS["shuffled"](material(tokens, **chosen)).checksum == shuffled(bigram, SHUFFLE_SEED).checksum


def test_every_kind_but_bigram_is_a_rival_without_content():
    """A sceptic's rival that is not named there would be counted as content."""
    assert set(KINDS) - {"bigram"} == set(names.CONTENT_FREE)
    assert [kind for kind, make in KINDS.items() if make is None] == ["ramp"]


def test_a_unigram_teacher_needs_text():
    with pytest.raises(InputError, match="no bigrams were counted"):
        KINDS["unigram"](material([]))


def test_shuffled_gives_every_seen_context_the_row_of_another_and_loses_none():
    table = estimate_table(counted(random_stream()), "modified_kneser_ney", **IDS)
    other = shuffled(table, seed=3)
    before_VxV, after_VxV = dense(table), dense(other)
    seen = np.flatnonzero(np.diff(table.indptr))
    assert not any(np.array_equal(before_VxV[c], after_VxV[c]) for c in seen)
    assert sorted(map(tuple, before_VxV)) == sorted(map(tuple, after_VxV))
    unseen = np.setdiff1d(np.arange(V), seen)
    np.testing.assert_array_equal(before_VxV[unseen], after_VxV[unseen])
    assert other.checksum == shuffled(table, seed=3).checksum
    assert other.checksum not in (table.checksum, shuffled(table, seed=4).checksum)
