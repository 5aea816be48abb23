"""The recipes "to add a schedule, a smoothing, a kind of teacher": one entry in one registry is enough.

Each newcomer is registered as its file would register it, its numbers are checked, and a student trains with it.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loss_cases import assert_equal, by_dense_target, by_guided_loss, case, exact
from paths import ROOT
from small_corpus import small_config
from small_tables import IDS, V, counted, dense, random_stream

from trainable import names
from trainable.config import TeacherConfig, TrialConfig, override
from trainable.errors import InputError
from trainable.prepare import prepare_run
from trainable.student.train import train
from trainable.teacher.kinds import KINDS, teacher_class
from trainable.teacher.kinds.bigram import BigramTeacher
from trainable.teacher.material import Material
from trainable.teacher.schedules import SCHEDULES, teacher_weight
from trainable.teacher.smoothing import SMOOTHINGS, Method, Parts, Strength, Tally, estimate_table
from trainable.teacher.table import BigramTable

GUIDED = {"teacher.schedule": "linear", "teacher.steps": 12}


def cosine(t: int, T: int, tau: float | None) -> float:
    """A new schedule: half a cosine wave from 1 to 0."""
    return float(0.5 * (1 + np.cos(np.pi * t / T)))


def squared(tally: Tally, power: float) -> Parts:
    """A new smoothing: counts to a power; the rest of each row goes to the uniform distribution."""
    share_K = 0.75 * tally.count_K**power
    sums_V = np.bincount(tally.prev_K, tally.count_K**power, len(tally.total_V))
    backoff_V = np.where(tally.total_V > 0, 0.25, 1.0)
    return share_K / sums_V[tally.prev_K], backoff_V, np.full_like(tally.total_V, 1 / len(tally.total_V))


class Stubborn(BigramTeacher):
    """A new kind of teacher: after each token it expects the token with the next id."""

    @classmethod
    def prepare(cls, material: Material) -> BigramTable:
        size = material.vocab_size
        return BigramTable(
            indptr=np.arange(size + 1),
            indices=((np.arange(size) + 1) % size).astype(np.uint16),
            values=np.ones(size, np.float32),
            backoff_V=np.zeros(size, np.float32),
            base_V=np.full(size, 1 / size, np.float32),
            vocab_size=size,
            smoothing="stubborn",
            strength=None,
            tokenizer_fingerprint=material.tokenizer_fingerprint,
            counted_tokens=0,
            rows="none",
        )


@pytest.fixture
def newcomers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add one entry to each registry, as one line in each file would."""
    monkeypatch.setitem(SCHEDULES, "cosine", cosine)
    strength = Strength(default=2.0, largest=4.0, wanted="a power in (0, 4]")
    monkeypatch.setitem(SMOOTHINGS, "squared", Method(parts=squared, strength=strength))
    monkeypatch.setitem(KINDS, "stubborn", f"{__name__}:Stubborn")


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("newcomers", "one_thread")
@pytest.mark.parametrize(
    ("changes", "weights", "taught"),
    [
        (
            {"teacher.schedule": "cosine", "teacher.steps": 10, "teacher.min_weight": 0.1},
            [1, 0.5, 0.1, 0.1, 0.1],
            "mle",
        ),
        ({**GUIDED, "teacher.smoothing": "squared"}, [1, 7 / 12, 2 / 12, 0, 0], "squared"),
        ({**GUIDED, "teacher.kind": "stubborn"}, [1, 7 / 12, 2 / 12, 0, 0], "stubborn"),
    ],
    ids=["schedule", "smoothing", "kind"],
)
def test_a_newcomer_can_be_set_prepared_and_trained_with(
    tmp_path: Path, changes: dict[str, Any], weights: list[float], taught: str
) -> None:
    config = small_config(tmp_path, changes)
    data, facts = prepare_run(config, tmp_path / "cache")
    reports: list[dict[str, Any]] = []
    train(config, data, reports.append)
    assert [report[names.TEACHER_WEIGHT] for report in reports] == pytest.approx(weights)
    assert reports[-1][names.EVAL_LOSS] < reports[0][names.EVAL_LOSS]
    assert facts["teacher"]["smoothing"] == taught


@pytest.mark.usefixtures("newcomers")
def test_a_newcomers_weight_has_the_floor_and_the_end_of_all_schedules() -> None:
    weights = [teacher_weight(t, "cosine", steps=10, min_weight=0.2) for t in (0, 5, 9, 10, 99)]
    assert weights == pytest.approx([1, 0.5, 0.2, 0.2, 0.2])


@pytest.mark.usefixtures("newcomers")
@pytest.mark.parametrize("changes", [{"smoothing": "squared"}, {"kind": "stubborn"}], ids=["smoothing", "kind"])
def test_the_loss_of_a_newcomers_table_is_that_of_its_dense_target(changes: dict[str, str]) -> None:
    settings = TeacherConfig(**changes)
    vocab_size = 13
    counts = counted(random_stream(), vocab_size)
    material = Material(counts=lambda: counts, vocab_size=vocab_size, smoothing=settings.smoothing, **IDS)
    table, c = exact(teacher_class(settings.kind).prepare(material)), case()
    assert_equal(by_guided_loss(c, table, 0.7, parts=3), by_dense_target(c, table, 0.7), 1e-10)


@pytest.mark.usefixtures("newcomers")
def test_a_newcomers_strength_and_pruning_are_those_of_all_smoothings() -> None:
    counts = counted(random_stream())
    table = estimate_table(counts, "squared", min_count=2, **IDS)
    assert table.strength == 2.0
    assert len(table.values) == (counts.counts_K >= 2).sum()
    np.testing.assert_allclose(dense(table).sum(1), np.ones(V), atol=1e-6)
    with pytest.raises(InputError, match=r"teacher\.smoothing_strength is 5\.0 for squared: give a power in \(0, 4\]"):
        TeacherConfig(smoothing="squared", smoothing_strength=5.0)


@pytest.mark.usefixtures("newcomers")
@pytest.mark.parametrize(
    ("key", "newcomer"),
    [("teacher.schedule", "cosine"), ("teacher.smoothing", "squared"), ("teacher.kind", "stubborn")],
)
def test_a_misspelt_choice_is_refused_with_the_newcomer_among_the_choices(key: str, newcomer: str) -> None:
    with pytest.raises(InputError, match=rf"{key} is 'nobody': choose one of .*{newcomer}\."):
        override(TrialConfig(), {key: "nobody"})


def test_the_command_line_offers_newcomers_to_the_registries() -> None:
    """Needs a separate process: options are made when their module is imported, after the registry's file."""
    code = (
        "from trainable.teacher.schedules import SCHEDULES\n"
        "from trainable.teacher.smoothing import SMOOTHINGS\n"
        "SCHEDULES['cosine'] = SCHEDULES['linear']\n"
        "SMOOTHINGS['squared'] = SMOOTHINGS['mle']\n"
        "import sweeps.engine.cli\n"
        "sweeps.engine.cli.time_of = lambda *_: 'not measured'\n"
        "from sweeps.schedule_search import SearchOptions, main, schedule_search\n"
        "words = '--dry-run --schedules cosine linear --smoothing squared'.split()\n"
        "raise SystemExit(main(schedule_search, SearchOptions, '', words))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "cosine" in done.stdout
