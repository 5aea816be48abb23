"""The driver replaces loop.precision=auto of a run, once: no trial, and no spec that --minutes sizes, has auto."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_corpus import small_sentences

from sweeps.content import ContentOptions, content
from sweeps.engine.budget import sizing
from sweeps.engine.cli import USAGE_ERROR, main
from sweeps.engine.precision import settled
from sweeps.engine.specs.spec import Spec, says_auto
from sweeps.engine.study import TeacherOptions
from sweeps.kfold import kfold
from sweeps.schedule_search import SearchOptions, schedule_search
from trainable.errors import InputError
from trainable.student.precision import Best

SMALL = ("--corpus", "small.txt", "--tokenizer", "train:512", "--train-rows", "400", "--eval-rows", "50", "--dry-run")


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Devices for which the best precision of this machine was asked; the answer is always bfloat16."""
    devices: list[str] = []

    def best(device: str) -> Best:
        devices.append(device)
        return Best("bfloat16", "the test says so")

    monkeypatch.setattr("trainable.student.precision.best_precision", best)
    return devices


def test_the_driver_chooses_one_precision_for_every_trial(asked: list[str]) -> None:
    spec, because = settled(schedule_search(SearchOptions(set=("loop.device=cpu",))))
    assert (because, asked) == ("the test says so", ["cpu"])
    trials = [group.search_plan(group.dearest) for group in spec.groups]  # type: ignore[attr-defined]
    confirmations = [group.confirmation_plan(trials[0], 1, None) for group in spec.groups]  # type: ignore[attr-defined]
    assert {plan.config.loop.precision for plan in [*trials, *confirmations]} == {"bfloat16"}


LAPTOP: list[tuple[Callable[[Any], Spec], Any]] = [
    (schedule_search, SearchOptions()),
    (kfold, TeacherOptions()),
    (content, ContentOptions()),
]


@pytest.mark.parametrize(("study", "options"), LAPTOP)
def test_studies_at_laptop_scale_have_precision_auto(study: Callable[[Any], Spec], options: Any) -> None:
    assert study(options).base.loop.precision == "auto"


@pytest.mark.parametrize(
    ("study", "options", "precision"),
    [
        (schedule_search, SearchOptions(set=("loop.precision=float32",)), "float32"),
        (schedule_search, SearchOptions(model="small-llama2"), "bfloat16"),
        (kfold, TeacherOptions(scale="published"), "bfloat16"),
        (content, ContentOptions(scale="published"), "bfloat16"),
    ],
)
def test_a_precision_that_the_user_or_the_study_sets_is_kept_without_asking_the_machine(
    study: Callable[[Any], Spec], options: Any, precision: str, asked: list[str]
) -> None:
    spec = study(options)
    assert settled(spec) == (spec, None)
    assert (spec.base.loop.precision, asked) == (precision, [])


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small.txt").write_text("".join(f"{line}\n" for line in small_sentences()), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGRAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.usefixtures("workplace")
def test_the_plan_says_which_precision_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(schedule_search, SearchOptions, "", list(SMALL)) == 0
    plan = " ".join(capsys.readouterr().out.split())
    assert (
        "steps of 8 x 128 tokens in bfloat16 precision: bfloat16, which auto takes on this machine, for the test"
        in plan
    )
    assert main(schedule_search, SearchOptions, "", [*SMALL, "--set", "loop.precision=float32"]) == 0
    plan = " ".join(capsys.readouterr().out.split())
    assert "tokens in float32 " in plan and "precision:" not in plan


@pytest.mark.usefixtures("workplace")
def test_a_spec_that_minutes_sizes_has_no_precision_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates are stored by shapes with a precision: a spec with auto would match no rate."""
    seen: list[bool] = []

    def sized(study: Callable[[Any], Spec], options: Any, spec: Spec) -> Any:
        seen.extend([says_auto(spec), says_auto(study(options))])
        raise InputError("that is enough.")

    monkeypatch.setattr(sizing, "sized", sized)
    assert main(schedule_search, SearchOptions, "", [*SMALL, "--minutes", "5"]) == USAGE_ERROR
    assert seen == [False, False]
