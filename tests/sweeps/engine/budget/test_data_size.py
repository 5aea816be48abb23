"""Amount of text that a run reads: estimated from a sample before the text is prepared, exact afterwards."""

from dataclasses import replace
from pathlib import Path

import pytest
from small_corpus import small_sentences
from small_study import SmallOptions, small_study

from sweeps.engine.budget.data_size import data_size, teacher_key
from sweeps.engine.specs.comparison import Comparison
from trainable.config import override
from trainable.plan import data_key
from trainable.prepare import prepare_runs


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """A study on a small corpus, with an empty cache."""
    path = tmp_path / "small.txt"
    path.write_text("".join(f"{line}\n" for line in small_sentences()), encoding="utf-8")
    monkeypatch.setenv("BIGRAM_CACHE", str(tmp_path / "cache"))
    return small_study(SmallOptions(corpus=str(path), eval_rows=60))


def test_an_estimate_is_near_the_prepared_data_and_writes_nothing_to_the_cache(
    spec: Comparison, tmp_path: Path
) -> None:
    estimate = data_size(spec, {})
    assert not (tmp_path / "cache").exists()
    prepare_runs(spec.configs())
    exact, (key, *_) = data_size(spec, {}), [data_key(config) for config in spec.configs()]
    assert estimate.vocab_size == exact.vocab_size
    assert estimate.train_tokens == pytest.approx(exact.train_tokens, rel=0.15)
    assert estimate.blocks[key] == pytest.approx(exact.blocks[key], rel=0.2)
    assert estimate.seconds > 0 and exact.seconds > 0


def test_prepared_data_are_counted_exactly(spec: Comparison) -> None:
    prepared = prepare_runs(spec.configs())
    (key, (train, held_out)), *_ = prepared.blocks.items()
    size = data_size(spec, {})
    assert size.blocks == {key: (len(train.ids_BxT), len(held_out.ids_BxT))}
    assert size.train_tokens == len(train.stream_N)
    assert size.eval_blocks == len(held_out.ids_BxT)


def test_only_teachers_that_are_in_the_cache_themselves_are_found(spec: Comparison) -> None:
    bigram = [config for config in spec.configs() if config.teacher.kind == "bigram"]
    assert data_size(spec, {}).teachers == {}
    prepare_runs(bigram)
    assert set(data_size(spec, {}).teachers) == {teacher_key(config) for config in bigram}
    plans = [replace(plan, config=override(plan.config, {"teacher.kind": "model"})) for plan in spec.plans]
    size = data_size(replace(spec, plans=tuple(plans)), {})
    assert size.teachers == {} and size.blocks == data_size(spec, {}).blocks, (
        "the text is in the cache, its teacher is not"
    )
