"""Claims about trainable/teacher/kneser_ney.py: KenLM's numbers, the formula, distributions, rare n-grams left out.

E eos, V vocabulary, M order. In the reference text `<s>` is only ever a history and `</s>` only ever predicted, so one
id serves for both, as eos does in training.
"""

import json
import math
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tables import IDS, counted, random_stream

from trainable.errors import InputError
from trainable.teacher import kneser_ney, ngram_counts
from trainable.teacher.kneser_ney import estimate_ngrams
from trainable.teacher.ngram_counts import NgramCounts, count_block_ngrams, count_ngrams
from trainable.teacher.ngram_table import cross_entropy
from trainable.teacher.smoothing import FALLBACK_DISCOUNTS, estimate_table, modified_discounts

V = 9
EOS = 2
orders = st.sampled_from([2, 3, 4, 5])
streams = st.lists(st.integers(0, V - 1), min_size=1, max_size=80)


def ngrams_of(tokens, order, vocab_size=V) -> NgramCounts:
    return count_ngrams(np.array(tokens, np.int64), vocab_size, order, eos_id=EOS)


def limits_of(order):
    """Minimum counts of the orders from 2 on, none smaller than that of the order before."""
    return st.lists(st.integers(1, 4), min_size=order - 1, max_size=order - 1).map(lambda limits: tuple(sorted(limits)))


# --- against KenLM ----------------------------------------------------------------------------------------------------


def read_lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


@cache
def reference(folder: Path):
    """Training tokens, test tokens after an eos, vocabulary size, and KenLM's values.

    KenLM has an <unk> of its own besides that of the text. It never occurs, but is one of the 13,778 tokens that share
    the uniform distribution.
    """
    train, test = read_lines(folder / "wikitext2/valid.txt"), read_lines(folder / "wikitext2/test.txt")
    ids = {"</s>": 0}
    for line in train:
        for word in line:
            ids.setdefault(word, len(ids))
    train_N, test_N = (
        np.array([i for line in lines for i in [*(ids.get(w, ids["<unk>"]) for w in line), 0]], np.uint16)
        for lines in (train, test)
    )
    published = json.loads((folder / "ngram_reference.json").read_text())["modified_kneser_ney_by_order"]
    return train_N, np.r_[np.uint16(0), test_N], len(ids) + 1, published


@cache
def reference_table(folder: Path, order: int):
    train_N, _, vocab_size, _ = reference(folder)
    return estimate_ngrams(count_ngrams(train_N, vocab_size, order, eos_id=0), **IDS)


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_perplexity_on_wikitext2_is_kenlms(shared_data, order):
    _, test_N, _, published = reference(shared_data)
    perplexity = math.exp(cross_entropy(reference_table(shared_data, order), test_N[None]))
    assert perplexity == pytest.approx(published["perplexity"][str(order)], abs=1e-4)  # KenLM computes in float32


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_numbers_of_ngrams_and_discounts_are_kenlms(shared_data, order):
    table, published = reference_table(shared_data, order), reference(shared_data)[3]
    unigrams, *longer = published["ngrams"][str(order)]
    assert table.ngrams == (unigrams - 1, *longer)  # <s> and </s> are one id here
    for found, expected in zip(table.discounts, published["discounts"][str(order)], strict=True):
        assert found == pytest.approx(expected, rel=5e-6)  # published to 6 digits


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_a_table_takes_at_most_8_bytes_for_each_ngram(shared_data, order):
    table = reference_table(shared_data, order)
    assert table.nbytes <= 8 * sum(table.ngrams)


# --- the formula ------------------------------------------------------------------------------------------------------


class Definition:
    """Modified Kneser-Ney written out with dictionaries, from the records of a text."""

    def __init__(self, counts: NgramCounts, limits: tuple[int, ...]) -> None:
        written = counts.packing.symbols_KxM(counts.words).tolist()
        nothing, size = counts.vocab_size, counts.vocab_size
        records = {
            tuple(t for t in r if t != nothing): n for r, n in zip(written, counts.counts_K.tolist(), strict=True)
        }
        # 1 raw counts, and the tokens before each n-gram
        self.order, raw, before = counts.order, Counter(), defaultdict(set)
        for record, number in records.items():
            for m in range(1, len(record) + 1):
                raw[record[-m:]] += number
                before[record[-m:]].add(record[-m - 1] if m < len(record) else None)
        # 2 adjusted counts by history
        self.follows, self.discounts, self.raw, self.limits = defaultdict(dict), [], raw, (1, *limits)
        for m in range(1, counts.order + 1):
            adjusted = {
                g: n if m == counts.order or (g[0] == counts.eos_id and m > 1) else len(before[g])
                for g, n in raw.items()
                if len(g) == m
            }
            self.discounts.append(modified_discounts(np.array(list(adjusted.values()))))
            for g, n in adjusted.items():
                self.follows[g[:-1]][g[-1]] = n
        self.uniform_V = np.full(size, 1 / size)

    def row(self, history: tuple[int, ...]) -> np.ndarray:
        """Probability of every token after a history, in which only the first token may be an eos."""
        shorter_V = self.row(history[1:]) if history else self.uniform_V
        follows = {
            k: n for k, n in self.follows.get(history, {}).items() if self.raw[*history, k] >= self.limits[len(history)]
        }
        if not follows:
            return shorter_V
        total, d = sum(self.follows[history].values()), [0.0, *self.discounts[len(history)]]
        row_V = np.zeros_like(shorter_V)
        for k, n in follows.items():
            row_V[k] = (n - d[min(n, 3)]) / total
        return row_V + (1 - row_V.sum()) * shorter_V


def histories_in(tokens, order):
    """All histories of the text, histories that are longer than the order, and histories that never occurred."""
    whole = [EOS, *tokens]
    seen = {tuple(whole[max(0, i - n) : i]) for i in range(1, len(whole) + 1) for n in range(1, order + 1)}
    return [*seen, *((a, b) for a in range(V) for b in range(V)), (V - 1,) * order]


def of_one_document(history, order):
    """The part of a history that counts: from the last eos on, order - 1 tokens at most."""
    cut = history[-(order - 1) :]
    last = max((i for i, t in enumerate(cut) if t == EOS), default=0)
    return cut[last:]


@given(data=st.data(), order=orders, tokens=streams)
@settings(max_examples=40)
def test_every_row_equals_its_definition_and_sums_to_1_with_and_without_pruning(data, order, tokens):
    limits = data.draw(st.one_of(st.just((1,) * (order - 1)), limits_of(order)))
    counts = ngrams_of(tokens, order)
    table, definition = estimate_ngrams(counts, min_count=limits, **IDS), Definition(counts, limits)
    for history in histories_in(tokens, order):
        row_V = table.row(np.array(history))
        assert row_V.sum() == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(row_V, definition.row(of_one_document(history, order)), rtol=2e-6, atol=1e-7)


@given(
    st.lists(st.tuples(st.lists(st.integers(0, V - 1), min_size=8, max_size=8), st.integers(0, 8)), max_size=9),
    orders,
)
@settings(max_examples=40)
def test_rows_of_padded_blocks_equal_their_definition(blocks, order):
    """A block may begin anywhere in a text, so before its first token stands "nothing", not an eos."""
    blocks.append(([1, 3, 4, 1, 3, 5, EOS, 1], 8))
    ids_BxT, lengths_B = np.array([ids for ids, _ in blocks]), np.array([length for _, length in blocks])
    counts = count_block_ngrams(ids_BxT, lengths_B, V, order, eos_id=EOS)
    table, definition = estimate_ngrams(counts, min_count=1, **IDS), Definition(counts, (1,) * (order - 1))
    for history in histories_in([t for ids, length in blocks for t in ids[:length]], order):
        expected_V = definition.row(of_one_document(history, order))
        np.testing.assert_allclose(table.row(np.array(history)), expected_V, rtol=2e-6, atol=1e-7)


def test_long_rows_of_a_larger_text_sum_to_one():
    tokens = np.random.default_rng(1).zipf(1.2, 30_000) % 3000
    for limit in (1, 2):
        table = estimate_ngrams(ngrams_of(tokens, 4, 3000), min_count=limit, **IDS)
        assert FALLBACK_DISCOUNTS not in table.discounts[:3]
        for i in range(3, 200):
            assert table.row(tokens[i - 3 : i]).sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("min_count", [1, 2])
def test_order_2_equals_a_bigram_table_with_modified_kneser_ney(min_count):
    tokens = random_stream()
    bigrams = estimate_table(counted(tokens), "modified_kneser_ney", min_count=min_count, **IDS)
    table = estimate_ngrams(ngrams_of(tokens, 2), min_count=min_count, **IDS)
    np.testing.assert_array_equal(table.base_V, bigrams.base_V)
    np.testing.assert_array_equal(table.levels[0].columns, bigrams.indices)
    for context in range(V):
        np.testing.assert_allclose(table.row(np.array([context])), bigrams.row(context), rtol=3e-7, atol=1e-9)


@given(streams, orders, st.sampled_from([1, 2]))
@settings(max_examples=30)
def test_records_of_two_words_give_the_same_table_as_records_of_one_word(tokens, order, min_count):
    made = []
    for bits in (64, 14, 11):  # words that hold 5 or more, 4, and 3 digits in base 10
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ngram_counts, "WORD_BITS", bits)
            counts = ngrams_of(tokens, order)
            assert len(counts.words) == (1 if order <= {64: 5, 14: 4, 11: 3}[bits] else 2)
            made.append(estimate_ngrams(counts, min_count=min_count, **IDS).checksum)
    assert len(set(made)) == 1


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_does_not_change_the_table(threads):
    counts = ngrams_of(random_stream(), 4)
    assert estimate_ngrams(counts, threads=threads, **IDS).checksum == estimate_ngrams(counts, **IDS).checksum


@given(streams, streams, orders)
@settings(max_examples=30)
def test_counts_of_the_whole_minus_a_fold_give_the_table_of_the_rest(fold, rest, order):
    fold_N, rest_N = [*fold, EOS], [*rest, EOS]
    left = ngrams_of([*fold_N, *rest_N], order) - ngrams_of(fold_N, order)
    assert estimate_ngrams(left, **IDS).checksum == estimate_ngrams(ngrams_of(rest_N, order), **IDS).checksum


@given(streams, orders, st.integers(0, 80), st.sampled_from([1, 2]))
@settings(max_examples=40)
def test_rows_of_the_table_sum_to_1_also_if_the_subtracted_part_ends_inside_a_text(tokens, order, cut, min_count):
    whole = [*tokens, 1, 3, 4, 1, EOS]
    rest = ngrams_of(whole, order) - ngrams_of(whole[: min(cut, len(whole) - 1)], order)
    table = estimate_ngrams(rest, min_count=min_count, **IDS)
    for history in histories_in(whole, order):
        assert table.row(np.array(history)).sum() == pytest.approx(1, abs=1e-6)


# --- discounts and pruning --------------------------------------------------------------------------------------------


def test_discounts_that_cannot_be_estimated_fall_back_order_by_order():
    table = estimate_ngrams(ngrams_of([1, 3, 1, 3], 3), **IDS)
    assert table.discounts == (FALLBACK_DISCOUNTS,) * 3
    for history in ([1], [3, 1], [EOS, 1], [5, 6], []):
        row_V = table.row(np.array(history, np.int64))
        assert np.isfinite(row_V).all() and (row_V > 0).all()


@given(streams, orders)
@settings(max_examples=30)
def test_pruning_removes_entries_and_changes_no_discount_and_no_base_vector(tokens, order):
    counts = ngrams_of(tokens, order)
    whole = estimate_ngrams(counts, **IDS)
    sizes = []
    for limit in (1, 2, 3, 10_000):
        pruned = estimate_ngrams(counts, min_count=limit, **IDS)
        assert (pruned.discounts, pruned.ngrams) == (whole.discounts, whole.ngrams)
        assert np.array_equal(pruned.base_V, whole.base_V)
        sizes.append(sum(len(level.columns) for level in pruned.levels))
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] == 0
    assert sizes[0] == sum(whole.ngrams[1:])
    assert np.array_equal(pruned.row(np.array([1])), whole.base_V)
    assert pruned.smoothing == "modified_kneser_ney, n-grams seen 10000 times or more"


def test_minimum_counts_that_fall_or_do_not_fit_are_refused_and_so_are_empty_counts():
    counts = ngrams_of([1, 3], 3)
    for limits in ((2, 1), (1,), (1, 1, 1), 0, (0, 1)):
        with pytest.raises(InputError, match=r"teacher\.min_count"):
            estimate_ngrams(counts, min_count=limits, **IDS)
    with pytest.raises(InputError, match="no n-grams were counted"):
        estimate_ngrams(NgramCounts.empty(V, 3, EOS), **IDS)
    name = estimate_ngrams(counts, min_count=(1, 2), **IDS).smoothing
    assert name == "modified_kneser_ney, n-grams of orders 2 to 3 seen 1, 2 times or more"


@given(st.lists(st.integers(1, 20), min_size=1), st.sampled_from([1, 5, 1 << 16]))
def test_codes_give_back_the_counts_whether_they_are_frequent_or_not(counts, frequent):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kneser_ney, "FREQUENT", frequent)
        count_L, codes = kneser_ney._coded(np.array(counts))
    assert count_L[codes].tolist() == counts
    assert count_L.tolist() == sorted(set(counts))
    assert codes.dtype == np.uint16


def test_more_distinct_counts_than_16_bits_hold_have_codes_of_32_bits():
    counts = np.arange(1, 70_000)
    count_L, codes = kneser_ney._coded(counts)
    assert codes.dtype == np.uint32
    assert np.array_equal(count_L[codes], counts)
