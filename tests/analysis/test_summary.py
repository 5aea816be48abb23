"""Summary of a run: what it claims, what it refuses to claim, and the command analysis.summary."""

import io
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import run_module
from rich.console import Console
from synthetic_run import add_trial, realistic_run, spec, write_run

from analysis import summary
from analysis.results import read_findings
from analysis.summary import print_summary, rebuild
from trainable import names
from trainable.errors import InputError
from trainable.record.files import read_json, write_json

CONTROL = {0: 8.0, 60: 6.0, 120: 5.0}


def one_depth(tmp_path: Path, confirmed: tuple[float, ...] = (), **changes: Any) -> Path:
    """Make a run at one depth: a search trial with a gain of 0.5, and confirmations with the given gains."""
    run = write_run(tmp_path / "run", **{"spec": spec(layers=[1])} | changes)
    for seed, gain in enumerate((0.5, *confirmed)):
        add_trial(run, names.CONTROL, CONTROL, seed=seed)
        guided(run, gain, names.CONFIRM if seed else names.SEARCH, seed=seed)
    return run


def guided(run: Path, gain: float, role: str = names.SEARCH, **settings: Any) -> str:
    losses = {step: loss - (gain if step else 0) for step, loss in CONTROL.items()}
    linear = {"teacher__schedule": "linear", "teacher__steps": 60}
    return add_trial(run, role, losses, control=CONTROL, **linear | settings)


def write_summary(run: Path) -> str:
    return summary.write_summary(read_findings(run))


def printed(run: Path) -> str:
    stream = io.StringIO()
    print_summary(run, Console(file=stream, width=200))
    return stream.getvalue()


run_command = partial(run_module, "analysis.summary")


def test_a_gain_that_all_seeds_confirm_is_a_claim_with_its_interval(tmp_path: Path) -> None:
    text = write_summary(one_depth(tmp_path, confirmed=(0.3, 0.4, 0.5)))
    assert (
        "1 layer: guided is better. linear, T = 60, min weight 0: confirmed gain +0.4000 (sd 0.1000 over 3 seeds that "
        "did not choose it; 95 % interval +0.1516 to +0.6484); 24 steps saved to the control's final loss, 2.4 "
        "training seconds saved."
    ) in text  # 4.303 * 0.1 / sqrt(3) = 0.2484


@pytest.mark.parametrize(("confirmed", "words"), [((-0.3, -0.4, -0.5), "guided is worse"), ((-0.3, 0.4), "undecided")])
def test_a_gain_that_other_seeds_do_not_confirm_is_not_called_better(
    tmp_path: Path, confirmed: tuple[float, ...], words: str
) -> None:
    assert f"1 layer: {words}" in write_summary(one_depth(tmp_path, confirmed))


@pytest.mark.parametrize("confirmed", [(), (0.3,)])
def test_there_is_no_claim_from_one_seed(tmp_path: Path, confirmed: tuple[float, ...]) -> None:
    text = write_summary(one_depth(tmp_path, confirmed))
    assert "no claim from one seed" in text
    assert "layer: guided is better" not in text


def test_the_summary_counts_planned_seeds_that_are_missing(tmp_path: Path) -> None:
    assert "over 2 of 3 planned seeds" in write_summary(one_depth(tmp_path, (0.3, 0.4)))


def test_the_table_of_best_schedules_has_the_numbers_of_search_and_confirmations(tmp_path: Path) -> None:
    text = write_summary(one_depth(tmp_path, (0.3, 0.4, 0.5)))
    # gain 0.5: loss 5.0 at step 90 of 120, 9 s of 12; confirmations: 60 + 60 * 0.7, 60 + 60 * 0.6, 60 + 60 * 0.5
    assert "| 1 | linear | 60 | 0 | +0.5000 | +0.4000 ± 0.1000 (3) | 30 / 24 | 3.0 / 2.4 |" in text


def test_at_most_three_schedules_of_a_depth_are_shown(tmp_path: Path) -> None:
    run = one_depth(tmp_path)
    for floor in (0.1, 0.2, 0.3, 0.4):
        guided(run, 0.5 - floor, teacher__min_weight=floor)
    assert write_summary(run).count("| 1 | linear |") == 3


def test_the_summary_says_whether_the_corpus_is_the_built_in_text(tmp_path: Path) -> None:
    corpus = read_json(one_depth(tmp_path) / names.RUN_FILE)["corpus"]
    assert "built-in text, four novels of 1 MB" in write_summary(one_depth(tmp_path))
    real = write_summary(one_depth(tmp_path, corpus=corpus | {"demonstration": False, "source": "books.parquet"}))
    assert "built-in text" not in real


def test_rows_that_the_tokenizer_could_not_read_are_told_and_above_one_in_a_hundred_as_a_warning(
    tmp_path: Path,
) -> None:
    corpus = read_json(one_depth(tmp_path) / names.RUN_FILE)["corpus"]
    sizes = {"train_rows": 900, "eval_rows": 150, "empty_rows": 50}

    def summary(**counts: int) -> str:
        return write_summary(one_depth(tmp_path, corpus=corpus | sizes | counts))

    assert "tokenizer, or give no token" not in summary() + summary(unread_rows=0, eos_rows=0)
    assert "- 10 of 1,000 rows with text (1.0%) are mostly unknown to the tokenizer" in summary(unread_rows=10)
    assert "- Warning: 11 of 1,000 rows" in summary(unread_rows=11)
    assert "- Warning: 3 of 1,000 rows hold text that the tokenizer reads as the end-of-text token." in summary(
        eos_rows=3
    )


def test_the_summary_says_which_token_ends_a_row_and_what_was_switched_off(tmp_path: Path) -> None:
    tokenizer = read_json(one_depth(tmp_path) / names.RUN_FILE)["tokenizer"]
    more = {"eos": "(end)", "eos_from": "tokens.eos", "switched_off": ["padding", "truncation at 8 tokens"]}
    text = write_summary(one_depth(tmp_path, tokenizer=tokenizer | more))
    assert "End of text: the token '(end)', from tokens.eos." in text
    assert "Switched off in the tokenizer: padding, truncation at 8 tokens." in text


def test_the_summary_tells_a_leak_probe_twice_and_otherwise_that_there_is_no_leak(tmp_path: Path) -> None:
    run = one_depth(tmp_path)
    assert "No leak: teachers counted only the rows that the student trains on" in write_summary(run)
    guided(run, 0.1, teacher__rows="all", teacher__min_weight=0.1)
    text = write_summary(run)
    assert text.count("LEAK PROBE") == 2
    assert "No leak" not in text


def test_the_teachers_own_loss_is_given_or_said_to_be_missing(tmp_path: Path) -> None:
    run = one_depth(tmp_path)
    assert "not finite or not recorded" in write_summary(run)
    record = read_json(run / names.RUN_FILE)
    write_json(run / names.RUN_FILE, record | {"teacher": record["teacher"] | {"eval_loss": 4.9}})
    assert "its own validation loss is 4.9000 nats per token" in write_summary(run)


def test_epochs_are_steps_times_blocks_over_the_training_blocks(tmp_path: Path) -> None:
    assert "120 steps of 16 blocks, 0.96 epochs" in write_summary(one_depth(tmp_path))  # 120 * 16 / 2000


def test_stopped_and_failed_trials_are_listed_with_step_gain_and_reason(tmp_path: Path) -> None:
    text = write_summary(realistic_run(tmp_path / "run", layers=(1,)))
    assert "3 of 10 search trials." in text
    assert "| linear-T20-min0.2-L1-s0 | 80 | -0.0643 |" in text
    assert "1 failed, 1 not ended." in text
    assert "| linear-T40-min0-L1-s0 | 20 | RuntimeError: out of memory \\| at step 33 |" in text


def test_guided_trials_whose_control_failed_are_said_to_be_not_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", spec=spec(layers=[1]))
    control = add_trial(run, names.CONTROL, {0: 7.0}, state=names.FAILED, reason="its worker was killed")
    assert f"Not run, because their control {control} failed: the guided trials of its depth and seed." in printed(run)


def test_the_summary_tells_if_asha_judged_while_the_teacher_was_on(tmp_path: Path) -> None:
    early = spec(layers=[1], asha={"grace_period": 40, "reduction_factor": 2})
    assert "judged while their teacher was still on" in write_summary(one_depth(tmp_path, spec=early))
    assert "judged while" not in write_summary(one_depth(tmp_path))


def test_a_run_without_asha_says_so(tmp_path: Path) -> None:
    assert "ASHA was off" in write_summary(one_depth(tmp_path, spec=spec(layers=[1], asha=None)))


def test_the_cost_is_compared_with_trials_run_to_the_end_and_with_the_full_grid(tmp_path: Path) -> None:
    text = write_summary(one_depth(tmp_path))
    assert "| search | 1 | 120 | 120 | 100% | 12.0 | 3.5 |" in text
    assert "The full grid (80 settings) would take 9,600 trial-steps; the search took 120." in text
    assert "Wall clock: 600 s (10.0 min)." in text
    assert "Peak memory of a trial: 400 MiB without a teacher, 410 MiB with a teacher." in text
    assert "| 1 | 100.0 | 100.0 | 1.00 | 1.00 to 1.00 | 1 |" in text


def test_the_question_of_the_study_and_the_machine_are_given(tmp_path: Path) -> None:
    text = write_summary(one_depth(tmp_path, hardware={"cpus": 2, "gpus": ["H200", "H200"], "cpu": None}))
    assert "- Which schedule of a bigram teacher lowers the validation loss most, at each depth?" in text
    assert "Machine: cpus 2, gpus H200 + H200." in text and "Software: python 3.11.0" in text


def test_the_summary_of_a_live_run_says_that_the_run_has_not_ended(tmp_path: Path) -> None:
    text = write_summary(one_depth(tmp_path, wall_seconds="absent", ended="absent"))
    assert "the run has not ended" in text


def test_the_summary_names_a_control_that_reached_its_final_loss_early(tmp_path: Path) -> None:
    run = one_depth(tmp_path)
    add_trial(run, names.CONTROL, {0: 8.0, 60: 5.0, 120: 5.0}, seed=7)
    assert "none-L1-s7 first had its final loss 60 steps before its end" in write_summary(run)


def test_a_run_without_trials_has_a_summary_without_an_answer(tmp_path: Path) -> None:
    text = write_summary(write_run(tmp_path / "run", teacher=None))
    assert text.count("there is no answer yet") == 2
    assert "Teacher: none." in text


def test_the_terminal_shows_the_numbers_of_the_file(tmp_path: Path) -> None:
    run = realistic_run(tmp_path / "run", layers=(1,))
    rows = [line for line in write_summary(run).replace("\\|", "/").splitlines() if line.startswith("|")]
    shown = " ".join(printed(run).split()).replace("|", "/")
    cells = [cell.strip() for row in rows for cell in row.strip("|").split("|")]
    assert [cell for cell in cells if cell != "---" and cell not in shown] == []


def test_rebuilding_writes_tables_figures_and_summary(tmp_path: Path) -> None:
    run = realistic_run(tmp_path / "run", layers=(1,))
    assert rebuild(run) == []
    text = (run / names.SUMMARY_FILE).read_text()
    drawn = [f"{names.FIGURES_FOLDER}/{name}.png" for name in ("gain_by_schedule", "curves", "curves_tail")]
    assert all((run / name).is_file() for name in (names.TRIALS_TABLE, names.CURVES_TABLE, *drawn))
    assert "![curves.png](figures/curves.png)" in text


def test_a_run_file_that_lacks_something_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lacks corpus"):
        write_summary(one_depth(tmp_path, corpus="absent"))


def test_the_command_prints_the_summary_of_a_run(tmp_path: Path) -> None:
    done = run_command(str(one_depth(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert "Verdict" in done.stdout


def test_the_command_says_in_one_sentence_that_a_folder_is_not_a_run(tmp_path: Path) -> None:
    done = run_command(str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "is not a run folder" in done.stderr


def test_the_help_of_the_command_mentions_the_run_folder() -> None:
    assert "run folder" in run_command("--help").stdout
