"""Claims about trainable/teacher/kinds/: what the bigram teacher and its rivals know of the text."""

import numpy as np
import pytest
from small_tables import EOS, IDS, V, counted, dense, random_stream

from trainable import names
from trainable.errors import InputError
from trainable.teacher.kinds import KINDS, has_rows, teacher_class
from trainable.teacher.kinds.shuffled import SHUFFLE_SEED, shuffled
from trainable.teacher.material import Material
from trainable.teacher.smoothing import estimate_table


def table(kind, material):
    return teacher_class(kind).prepare(material)


def material(tokens, **chosen):
    return Material(counts=lambda: counted(tokens), vocab_size=V, **IDS, **chosen)


def test_rivals_without_context_have_one_row_for_all_contexts():
    np.testing.assert_allclose(dense(table("uniform", material([3, 4, 3, EOS]))), 1 / V)
    one_row_V = [0, 0, 0.25, 0.5, 0.25, 0, 0, 0, 0]
    np.testing.assert_allclose(dense(table("unigram", material([3, 4, 3, EOS]))), np.tile(one_row_V, (V, 1)))


def test_a_uniform_teacher_counts_nothing():
    def never():
        raise AssertionError("a uniform teacher asks for counts")

    uniform = table("uniform", Material(counts=never, vocab_size=V, **IDS))
    assert (uniform.counted_tokens, uniform.rows) == (0, "none")


def test_a_bigram_teacher_is_the_smoothed_table_and_a_shuffled_teacher_has_the_same_rows_permuted():
    tokens, chosen = random_stream(), {"smoothing": "add_k", "strength": 0.5, "min_counts": (2,)}
    bigram = table("bigram", material(tokens, **chosen))
    assert bigram.checksum == estimate_table(counted(tokens), "add_k", 0.5, min_count=2, **IDS).checksum
    assert table("shuffled", material(tokens, **chosen)).checksum == shuffled(bigram, SHUFFLE_SEED).checksum


def test_every_kind_but_n_grams_and_models_is_a_rival_without_content():
    """A rival that is missing in names.CONTENT_FREE would be taken for an arm with content."""
    assert set(KINDS) - {"bigram", "ngram", "model"} == set(names.CONTENT_FREE)
    assert [kind for kind in KINDS if not has_rows(kind)] == ["ramp"]


def test_a_unigram_teacher_needs_text():
    with pytest.raises(InputError, match="no bigrams were counted"):
        table("unigram", material([]))


def test_shuffled_gives_every_seen_context_the_row_of_another_context_and_loses_no_row():
    bigrams = estimate_table(counted(random_stream()), "modified_kneser_ney", **IDS)
    other = shuffled(bigrams, seed=3)
    before_VxV, after_VxV = dense(bigrams), dense(other)
    seen = np.flatnonzero(np.diff(bigrams.indptr))
    assert not any(np.array_equal(before_VxV[c], after_VxV[c]) for c in seen)
    assert sorted(map(tuple, before_VxV)) == sorted(map(tuple, after_VxV))
    unseen = np.setdiff1d(np.arange(V), seen)
    np.testing.assert_array_equal(before_VxV[unseen], after_VxV[unseen])
    assert other.checksum == shuffled(bigrams, seed=3).checksum
    assert other.checksum not in (bigrams.checksum, shuffled(bigrams, seed=4).checksum)
