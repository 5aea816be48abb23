"""Claims about trainable/teacher/smoothing.py: published numbers, formulas, distributions, discounts, rare bigrams.

V vocabulary, N tokens. In the reference text, `<s>` is only ever a context and `</s>` only ever predicted, so one id
serves for both, as eos does in training; the reference's 13,777 types are then exactly the vocabulary.
"""

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tables import EOS, IDS, V, all_pairs, counted, dense, random_stream

from trainable.errors import InputError
from trainable.teacher.counts import count_bigrams
from trainable.teacher.kinds.uniform import UniformTeacher
from trainable.teacher.kinds.unigram import UnigramTeacher
from trainable.teacher.material import Material
from trainable.teacher.smoothing import (
    FALLBACK_DISCOUNT,
    FALLBACK_DISCOUNTS,
    SMOOTHINGS,
    counts_of_counts,
    estimate_table,
    modified_discounts,
    single_discount,
)
from trainable.teacher.table import cross_entropy, probabilities

METHODS = list(SMOOTHINGS)
streams = st.lists(st.integers(0, V - 1), min_size=1, max_size=80)


# --- against published numbers ---------------------------------------------------------------------------------------


def read_lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


@cache
def reference(folder: Path, unused_ids: int = 0):
    """Training counts, contexts of the test events, test events, and published values."""
    train, test = read_lines(folder / "wikitext2/valid.txt"), read_lines(folder / "wikitext2/test.txt")
    ids = {"</s>": 0}
    for line in train:
        for word in line:
            ids.setdefault(word, len(ids))
    train_N, test_N = (
        np.array([i for line in lines for i in [*(ids.get(w, ids["<unk>"]) for w in line), 0]], np.uint16)
        for lines in (train, test)
    )
    counts = count_bigrams(train_N, len(ids) + unused_ids, first_context=0)
    return counts, np.r_[np.uint16(0), test_N[:-1]], test_N, json.loads((folder / "ngram_reference.json").read_text())


def test_the_reference_protocol_is_followed(shared_data):
    counts, _, next_N, _ = reference(shared_data)
    assert (counts.total, len(next_N), counts.vocab_size, len(counts.keys_K)) == (216_347, 244_102, 13_777, 96_257)
    assert counts_of_counts(counts.counts_K) == (71_026, 12_593, 4_680, 2_249)


@pytest.mark.parametrize(
    ("name", "smoothing", "strength"),
    [
        *((f"add_{k}", "add_k", k) for k in (1, 0.001)),
        *((f"jelinek_mercer_{weight}", "jelinek_mercer", weight) for weight in (0.5, 0.8)),
        *((m, m, None) for m in ("witten_bell", "absolute_discount", "kneser_ney", "modified_kneser_ney")),
    ],
)
def test_perplexity_on_wikitext2_is_the_published_one(shared_data, name, smoothing, strength):
    # KenLM has an <unk> of its own besides that of the text: one more token of the uniform distribution, never an event
    counts, prev_N, next_N, published = reference(shared_data, unused_ids=smoothing == "modified_kneser_ney")
    table = estimate_table(counts, smoothing, strength, **IDS)
    perplexity = math.exp(cross_entropy(table, prev_N, next_N))
    assert perplexity == pytest.approx(published["perplexity"][name], abs=1e-4)  # published to 4 places


def test_rivals_reach_the_published_perplexity(shared_data):
    counts, prev_N, next_N, published = reference(shared_data)
    material = Material(counts=lambda: counts, vocab_size=counts.vocab_size, **IDS)
    for name, kind in (("uniform", UniformTeacher), ("unigram_mle", UnigramTeacher)):
        perplexity = math.exp(cross_entropy(kind.prepare(material), prev_N, next_N))
        assert perplexity == pytest.approx(published["perplexity"][name], rel=1e-7, abs=1e-4), name


def test_maximum_likelihood_gives_the_published_number_of_impossible_events(shared_data):
    counts, prev_N, next_N, _ = reference(shared_data)
    table = estimate_table(counts, "mle", **IDS)
    assert (probabilities(table, prev_N, next_N) == 0).sum() == 83_455
    assert cross_entropy(table, prev_N, next_N) == math.inf


def test_discounts_are_the_published_ones(shared_data):
    counts, _, _, published = reference(shared_data)
    continuation_V = np.bincount(counts.next_K, minlength=counts.vocab_size)
    found = {
        "absolute_discount": single_discount(counts.counts_K),
        "kneser_ney": single_discount(counts.counts_K),
        "modified_kneser_ney": list(modified_discounts(counts.counts_K)),
        "modified_kneser_ney_unigram": list(modified_discounts(continuation_V)),
    }
    for name, value in published["discounts"].items():
        assert found[name] == pytest.approx(value, rel=5e-6), name  # published to 6 digits


# --- distributions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", METHODS)
@given(data=st.data())
@settings(max_examples=40)
def test_every_row_is_a_distribution_whatever_the_vocabulary_and_the_strength(smoothing, data):
    """Stored values and the share of the shared vector sum to 1; a context never seen has the shared vector alone."""
    size = data.draw(st.integers(EOS + 1, 30))
    tokens = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=60))
    largest = {"add_k": 1e3, "jelinek_mercer": 1.0}.get(smoothing)
    strength = None if largest is None else data.draw(st.floats(1e-6, largest))
    table = estimate_table(counted(tokens, size), smoothing, strength, **IDS)
    sums_V = np.bincount(np.repeat(np.arange(size), np.diff(table.indptr)), table.values, size)
    np.testing.assert_allclose(sums_V + table.backoff_V * table.base_V.sum(dtype=np.float64), 1, atol=1e-6)
    assert table.base_V.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    for array in (table.values, table.backoff_V, dense(table)):
        assert array.min(initial=0) >= 0
        assert array.max(initial=0) <= 1 + 1e-6
    unseen = np.setdiff1d(np.arange(size), [EOS, *tokens[:-1]])
    assert (table.backoff_V[unseen] == 1).all()
    assert (np.diff(table.indptr)[unseen] == 0).all()


@pytest.mark.parametrize("smoothing", METHODS)
def test_long_rows_sum_to_one_as_stored(smoothing):
    tokens = np.random.default_rng(1).zipf(1.2, 200_000) % 3000
    table = estimate_table(counted(tokens, 3000), smoothing, **IDS)
    sums_V = np.bincount(np.repeat(np.arange(3000), np.diff(table.indptr)), table.values, 3000)
    sums_V += table.backoff_V * table.base_V.sum(dtype=np.float64)
    np.testing.assert_allclose(sums_V, 1, atol=1e-6)


@pytest.mark.parametrize("smoothing", [m for m in METHODS if m != "mle"])
@given(tokens=streams)
@settings(max_examples=20)
def test_no_event_is_impossible_except_with_maximum_likelihood(smoothing, tokens):
    prev_N, next_N = all_pairs()
    assert (probabilities(estimate_table(counted(tokens), smoothing, **IDS), prev_N, next_N) > 0).all()


def test_methods_equal_their_formulas():
    """Each method but modified Kneser-Ney equals its formula, written out with a dense matrix of counts."""
    tokens = random_stream()
    n_VxV = np.zeros((V, V))
    np.add.at(n_VxV, (np.r_[EOS, tokens[:-1]], tokens), 1)
    n, t = n_VxV.sum(1, keepdims=True), (n_VxV > 0).sum(1, keepdims=True)
    types = (n_VxV.sum(0) > 0).sum()

    def spread(count_V):
        padded_V = np.where(count_V > 0, count_V, types / V)
        return padded_V / padded_V.sum()

    u, k = spread(n_VxV.sum(0)), spread((n_VxV > 0).sum(0))
    d = single_discount(n_VxV[n_VxV > 0])
    with np.errstate(invalid="ignore", divide="ignore"):
        formulas = {
            "mle": n_VxV / n,
            "add_k": (n_VxV + 0.3) / (n + 0.3 * V),
            "jelinek_mercer": 0.3 * n_VxV / n + 0.7 * u,
            "witten_bell": (n_VxV + t * u) / (n + t),
            "absolute_discount": (np.maximum(n_VxV - d, 0) + d * t * u) / n,
            "kneser_ney": (np.maximum(n_VxV - d, 0) + d * t * k) / n,
        }
    seen = n[:, 0] > 0
    assert seen.sum() == V - 2
    for smoothing, expected_VxV in formulas.items():
        strength = 0.3 if smoothing in ("add_k", "jelinek_mercer") else None
        table = estimate_table(counted(tokens), smoothing, strength, **IDS)
        np.testing.assert_allclose(dense(table)[seen], expected_VxV[seen], rtol=1e-6, atol=1e-9, err_msg=smoothing)
        np.testing.assert_allclose(dense(table)[~seen], np.tile(table.base_V, (2, 1)), err_msg=smoothing)


def test_maximum_likelihood_leaves_unseen_contexts_the_unigram_distribution():
    table = estimate_table(counted([3, 4, 3, EOS]), "mle", **IDS)
    np.testing.assert_allclose(table.row(7), np.bincount([3, 4, 3, EOS], minlength=V) / 4)
    assert table.row(3).tolist() == [0, 0, 0.5, 0, 0.5, 0, 0, 0, 0]


def test_the_strength_of_jelinek_mercer_is_the_weight_of_the_bigrams():
    assert estimate_table(counted(random_stream()), "jelinek_mercer", 0.9, **IDS).backoff_V[1] == pytest.approx(0.1)


def test_add_k_with_little_k_approaches_maximum_likelihood_on_seen_contexts():
    counts = counted(random_stream())
    seen = np.unique(counts.prev_K)
    near, exact = (dense(estimate_table(counts, m, s, **IDS))[seen] for m, s in (("add_k", 1e-9), ("mle", None)))
    np.testing.assert_allclose(near, exact, atol=1e-6)


def test_empty_counts_and_strengths_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="no bigrams were counted"):
        estimate_table(counted([]), "mle", **IDS)
    for smoothing, strength in (("jelinek_mercer", 1.5), ("add_k", 0.0), ("add_k", math.nan), ("witten_bell", 0.5)):
        with pytest.raises(InputError, match=r"teacher\.smoothing_strength"):
            estimate_table(counted([1]), smoothing, strength, **IDS)


# --- discounts of corpora too small for them ------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [[1, 1, 1], [2, 2], [5], [7, 9, 1]])
def test_a_discount_that_cannot_be_estimated_falls_back(counts):
    assert single_discount(np.array(counts)) == FALLBACK_DISCOUNT
    assert modified_discounts(np.array(counts)) == FALLBACK_DISCOUNTS


@pytest.mark.parametrize("n", [(5, 4, 0, 3), (1, 1, 9, 1), (1, 9, 1, 50), (0, 3, 3, 3)])
def test_modified_discounts_out_of_range_fall_back_together(n):
    assert modified_discounts(np.repeat([1, 2, 3, 4], n)) == FALLBACK_DISCOUNTS


@given(st.lists(st.integers(1, 6), min_size=1, max_size=60))
def test_discounts_never_exceed_the_count_they_are_taken_from(counts):
    assert 0 < single_discount(np.array(counts)) <= 1
    assert all(0 < d <= i for i, d in enumerate(modified_discounts(np.array(counts)), 1))


# --- rare bigrams left out -------------------------------------------------------------------------------------------

BACKING_OFF = tuple(method for method in METHODS if method != "mle")


@pytest.mark.parametrize("smoothing", BACKING_OFF)
@given(tokens=streams, min_count=st.integers(2, 5))
def test_the_mass_of_rare_bigrams_goes_to_the_backoff_and_rows_sum_to_1(smoothing, tokens, min_count):
    counts = counted(tokens)
    whole = estimate_table(counts, smoothing, **IDS)
    pruned = estimate_table(counts, smoothing, min_count=min_count, **IDS)
    np.testing.assert_allclose(dense(pruned).sum(1), 1, atol=1e-6)
    assert len(pruned.values) == (counts.counts_K >= min_count).sum()
    kept_K = counts.counts_K >= min_count
    assert np.array_equal(pruned.values, whole.values[kept_K]), "the values of frequent bigrams have changed"
    assert np.array_equal(pruned.indices, whole.indices[kept_K])
    assert np.array_equal(pruned.base_V, whole.base_V)
    lost_V = np.bincount(counts.prev_K[~kept_K], whole.values[~kept_K], V)
    np.testing.assert_allclose(pruned.backoff_V, whole.backoff_V + lost_V, atol=1e-6)


def test_the_table_shrinks_as_more_bigrams_are_left_out_and_a_limit_of_1_leaves_it_as_it_was():
    counts = counted(random_stream(length=200))
    tables = [estimate_table(counts, "kneser_ney", min_count=limit, **IDS) for limit in (1, 2, 3, 10_000)]
    sizes = [len(table.values) for table in tables]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 4 and sizes[-1] == 0
    assert tables[0].checksum == estimate_table(counts, "kneser_ney", **IDS).checksum
    np.testing.assert_allclose(dense(tables[-1]), np.tile(tables[0].base_V, (V, 1)), atol=1e-6)
    assert tables[1].smoothing == "kneser_ney, bigrams seen 2 times or more"


def test_a_vocabulary_of_128k_takes_8_bytes_a_bigram():
    size = 1 << 17
    tokens = np.random.default_rng(0).zipf(1.2, 3000) % size
    tokens[-1] = size - 1
    counts = count_bigrams(tokens.astype(np.uint32), size, first_context=EOS)
    table = estimate_table(counts, "modified_kneser_ney", min_count=2, **IDS)
    assert counts.keys_K.dtype == np.uint64
    assert 0 < len(table.values) < len(counts.keys_K)
    assert table.indices.nbytes + table.values.nbytes == 8 * len(table.values)
    for context in (EOS, int(tokens[0]), size - 1):
        assert table.row(context).sum() == pytest.approx(1, abs=1e-5)


def test_a_minimum_count_with_mle_is_refused_because_mle_has_no_backoff():
    with pytest.raises(InputError, match=r"teacher\.min_count is 2 but mle has no back-off weight .* choose another"):
        estimate_table(counted([1, 2]), "mle", min_count=2, **IDS)
