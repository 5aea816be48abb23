"""The whole path on a real Ray: from the command line to tables, and the same run resumed."""

from pathlib import Path

import pandas as pd
import pytest
import ray
import torch
from live_sweep import ledgers, losses
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from analysis.results import load
from sweeps.engine.cli import main
from sweeps.engine.cluster import ray_start
from sweeps.engine.folder import RunFolder
from sweeps.schedule_search import SearchOptions, schedule_search
from trainable import names
from trainable.prepare import prepare_run
from trainable.student.precision import best_precision
from trainable.student.train import Report, train


def sweep(results: Path, *words: str) -> int:
    """Exit status of a smoke test in this process."""
    return main(schedule_search, SearchOptions, "Search.", ["--smoke-test", "--results", str(results), *words])


def test_the_main_job_leaves_tables_pictures_summary_and_tensorboard_logs(finished: tuple[Path, str]) -> None:
    run, printed = finished
    for name in ("run.json", "trials.parquet", "curves.parquet", "summary.md", "asha.jsonl"):
        assert (run / name).stat().st_size > 0, name
    figures = {path.name for path in (run / "figures").iterdir()}
    assert figures >= {"answer.png", "search.png", "train_loss.png"}
    assert len(list(run.glob("trials/*/events.out.tfevents*"))) >= 5
    assert "Best settings" in (run / "summary.md").read_text() and "Best settings" not in printed
    assert "Ray dashboard: http://127.0.0.1:" in printed


def test_what_the_main_job_prints_fits_80_columns_says_the_aim_first_and_ends_with_the_paths(
    finished: tuple[Path, str],
) -> None:
    run, printed = finished
    lines = printed.splitlines()
    assert [line for line in lines if len(line) > 80 and str(run.parents[1]) not in line] == []
    assert lines[0].startswith("schedule_search: Which schedule") and lines[2].startswith("  at most 9 trials, about ")
    end = lines.index("Verdict")
    assert lines[end:].index("Arms at 1 layer") > 0
    told = [line.partition(": ")[2] for line in lines[lines.index("Where to read on") + 1 :]][:3]
    assert told == [f"{run}/summary.md", f"{run}/report.html", str(run)]
    assert all(Path(path).exists() for path in told)


def test_no_bar_is_drawn_where_the_output_is_no_terminal(finished: tuple[Path, str]) -> None:
    printed = finished[1]
    assert not {"\r", "\x1b"} & set(printed)
    assert printed.count("first report: ") == 1
    ended = [line for line in printed.splitlines() if "/12  loss " in line]
    assert len(ended) == len(load(finished[0]).trials)


def test_a_sweep_ends_with_the_model_that_was_asked_for(finished: tuple[Path, str]) -> None:
    run, printed = finished
    best = RunFolder.open(run).finished()[0]
    assert f"Exported {best.plan.name} (validation loss {best.loss:.4f})" in printed
    wanted = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    teaching = {"schedule.json", "teacher.table"}  # the files that GuidedTrainer takes
    assert {path.name for path in (run.parents[1] / "model").iterdir()} == wanted | teaching | {"README.md"}
    kept = [file.parent.name for file in run.glob(f"trials/*/{names.CHECKPOINT_FILE}")]
    assert kept == [best.plan.name]


def test_gain_is_the_controls_loss_minus_the_own_at_every_step(finished: tuple[Path, str]) -> None:
    trials, curves = load(finished[0])
    control_of = trials.set_index("trial")["control"]
    loss = curves.set_index(["trial", names.STEP])[names.EVAL_LOSS]
    for row in curves.itertuples():
        assert row.gain == pytest.approx(loss[control_of[row.trial], row.step] - row.eval_loss, abs=1e-12)
    first = curves[curves.step == 0].set_index("trial")
    assert (first.gain == 0).all(), "a pair starts from the same weights"


def test_the_main_job_searches_three_groups_alike_and_confirms_their_winners_on_other_text(
    finished: tuple[Path, str],
) -> None:
    trials = load(finished[0]).trials
    halves = trials.groupby(["arm", "corpus.eval_half"]).size()
    assert halves.to_dict() == {
        (arm, half): count
        for arm in ("control", "uniform", "bigram")
        for half, count in (("choosing", 2), ("reporting", 1))
    }
    assert trials.loc[trials["corpus.eval_half"] == "reporting", "control"].nunique() == 1


def test_trials_of_a_sweep_are_the_runs_that_train_makes_by_itself(finished: tuple[Path, str]) -> None:
    folder = RunFolder.open(finished[0])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for plan, state, reports in folder.trials():
            own: list[Report] = []
            train(plan.config, prepare_run(plan.config)[0], own.append)
            told = len(own) if state == names.FINISHED else len(reports)  # ASHA may have stopped it
            assert [r[names.EVAL_LOSS] for r in own[:told]] == [r[names.EVAL_LOSS] for r in reports], plan.name
    finally:
        torch.set_num_threads(threads)


def test_hparams_and_scalars_of_each_trial_can_be_read_by_tensorboard(finished: tuple[Path, str]) -> None:
    for trial in (finished[0] / "trials").iterdir():
        events = EventAccumulator(str(trial)).Reload()
        assert {names.EVAL_LOSS, names.GAIN} <= set(events.Tags()["scalars"])
        assert any("hparams" in name for name in events.summary_metadata), trial.name


def test_tunes_own_boxes_and_lines_are_not_printed(finished: tuple[Path, str]) -> None:
    assert not [word for word in ("Configuration for experiment", "View detailed results") if word in finished[1]]


def test_resuming_a_finished_run_runs_nothing_and_changes_no_number(
    finished: tuple[Path, str], ray_address: str
) -> None:
    run, _ = finished
    before, numbers = ledgers(run), losses(run)
    words = ["--address", ray_address, "--resume", str(run)]
    assert main(schedule_search, SearchOptions, "Search.", words) == 0
    assert ledgers(run) == before
    pd.testing.assert_series_equal(losses(run), numbers)


def test_more_gpus_a_trial_than_there_are_is_refused_at_once(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ray_start, "_start_own", lambda settings: ray.init(ray_address, logging_level="ERROR"))
    assert sweep(tmp_path, "--gpus-per-trial", "64") == 2
    told = capsys.readouterr().err
    assert "error: a trial asks for 64 GPUs but Ray has " in told
    assert told.strip().endswith("lower --gpus-per-trial.")
    assert not list((tmp_path / "schedule_search").iterdir()), "a run without trials is left behind"


def test_a_trial_that_diverges_is_named_with_its_reason_and_the_exit_status_is_1(
    ray_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("--rates", "1e30", "--set", "optimizer.clip_norm=1e30")
    assert sweep(tmp_path, "--address", ray_address, "--num-samples", "1", *settings) == 1
    [run] = (tmp_path / "schedule_search").iterdir()
    failed = load(run).trials.query("state == 'failed'")
    assert len(failed) > 0
    assert failed.reason.str.contains(r"at step \d+ .*learning rate .*teacher weight").all()
    assert failed[["eval_loss", "gain"]].isna().all(axis=None), "a diverged trial has a last loss"
    assert "learning rate" in " ".join(capsys.readouterr().out.split())
    folder, best = RunFolder.open(run), best_precision()
    assert {plan.config.loop.precision for plan, _, _ in folder.trials()} == {best.precision}, "auto, the default"
    assert folder.record().precision_from == best.because
