"""An exported model: it is complete or absent, transformers alone loads it, and its loss is that of the ledger."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparisons import comparison
from foreign_tokenizers import published_kinds, save
from live_sweep import ledgers
from small_corpus import small_config, small_sentences
from small_disk import small_disk
from sweep_specs import SimulatedTune, new_run, small_sweep, states
from synthetic_groups import groups_run
from tiny_decoders import tiny_folder
from tokenizers import processors
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, TrainingArguments

from analysis.results import load, read_findings
from analysis.tables.arms import compare_arms
from analysis.tables.statistics import student_interval
from analysis.wording import signed
from sweeps.engine.cli import main
from sweeps.engine.cluster import ray_start
from sweeps.engine.export.choice import BEST, Export, check_export, chosen_trial
from sweeps.engine.export.found_schedule import write_found_schedule
from sweeps.engine.export.model_card import model_card
from sweeps.engine.export.model_folder import (
    fast_tokenizer,
    special_ids,
    trial_tokenizer,
    write_model_folder,
)
from sweeps.engine.folder import FinishedTrial, RunFolder
from sweeps.engine.specs.comparison import Comparison
from sweeps.schedule_search import SearchOptions, schedule_search
from trainable import names
from trainable.config import TrialConfig, identity, override
from trainable.errors import InputError
from trainable.loops.found_schedule import load_schedule
from trainable.loops.guided_trainer import GuidedTrainer
from trainable.plan import TrialPlan
from trainable.prepare import prepare_run
from trainable.record.files import fingerprint, write_json
from trainable.record.ledger import append_row, read_reports
from trainable.student.checkpoint import RunState, save_checkpoint
from trainable.student.train import train
from trainable.text.tokenizer.tokenizer import TextTokenizer, given_tokenizer, load_tokenizer

TRANSFORMERS_ALONE = """
import json, sys
import numpy as np, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, blocks, texts = sys.argv[1:]
model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
ids_BxT = torch.from_numpy(np.load(blocks).astype(np.int64))
with torch.inference_mode():
    losses = [float(model(input_ids=ids_BxT[i : i + 16], labels=ids_BxT[i : i + 16]).loss) * len(ids_BxT[i : i + 16])
              for i in range(0, len(ids_BxT), 16)]
begun = model.generate(**tokenizer("the cat", return_tensors="pt"), max_new_tokens=4, do_sample=False)
print(json.dumps({
    "loss": sum(losses) / len(ids_BxT),
    "ids": [tokenizer(text).input_ids for text in json.loads(texts)],
    "again": tokenizer.decode(tokenizer("the cat sees a red door.").input_ids, skip_special_tokens=True),
    "begun": tokenizer.decode(begun[0]),
    "ours": sorted({"trainable", "sweeps", "analysis", "ray"} & set(sys.modules)),
}))
"""
QUIET = {"logging_steps": 1, "report_to": "none", "disable_tqdm": True, "save_strategy": "no", "use_cpu": True}


@pytest.fixture(scope="module")
def exported(finished: tuple[Path, str]) -> tuple[RunFolder, Path]:
    """(run folder, folder with the exported model of the best trial)."""
    return RunFolder.open(finished[0]), finished[0].parents[1] / "model"


def test_transformers_alone_finds_the_loss_of_the_ledger_and_the_tokens_of_training(
    exported: tuple[RunFolder, Path], tmp_path: Path
) -> None:
    run, folder = exported
    best = chosen_trial(Export(BEST, folder), run)
    data, _facts = prepare_run(best.plan.config)
    np.save(tmp_path / "blocks.npy", data.eval.ids_BxT)
    texts = small_sentences(20)
    words = [str(folder), str(tmp_path / "blocks.npy"), json.dumps(texts)]
    done = subprocess.run([sys.executable, "-I", "-c", TRANSFORMERS_ALONE, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ours"] == []
    assert found["loss"] == pytest.approx(best.loss, abs=1e-5)
    confirmations = [reports for plan, _, reports in run.trials() if plan.config.corpus.eval_half == "reporting"]
    assert best.loss == min(reports[-1][names.EVAL_LOSS] for reports in confirmations)
    tokenizer = trial_tokenizer(run, best.plan.config)
    rows = tokenizer.encoder.encode_batch(texts, add_special_tokens=False)
    assert found["ids"] == [[tokenizer.eos_id, *row.ids] for row in rows]
    assert found["again"].strip() == "the cat sees a red door."
    assert re.fullmatch(r"</s> ?the cat.+", found["begun"])


def test_the_model_card_has_loss_corpus_commit_and_code_that_loads_the_model(
    exported: tuple[RunFolder, Path],
) -> None:
    run, folder = exported
    record, best = run.record(), run.finished()[0]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: transformers\n")
    for told in (
        f"{best.loss:.6f}",
        "the lowest of the 3 finished trials of the run on the same validation text",  # the confirmations
        record.corpus.fingerprint,
        f"schedule_search/{run.path.name}",
        record.git_commit or "unknown",
        f"teacher.schedule: {best.plan.config.teacher.schedule}",
    ):
        assert told in card, told
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code is not None
    done = subprocess.run([sys.executable, "-I", "-c", code[1]], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and "Once upon a time" in done.stdout, done.stderr


def test_the_card_of_an_arm_has_the_interval_of_the_study(tmp_path: Path) -> None:
    path = comparison(tmp_path / "run", seeds=3)
    run = RunFolder.open(path)
    better = next(plan.name for plan, _, _ in run.trials() if plan.role == names.ARM)
    ledger = run.trial(better) / names.LEDGER_FILE
    append_row(ledger, read_reports(ledger)[-1] | {names.EVAL_LOSS: 4.7})
    arm = next(trial for trial in run.finished() if trial.plan.role == names.ARM)
    table = compare_arms(load(path), ["none", "linear 588"])
    [row] = table[table["arm"] == arm.plan.arm].to_dict("records")
    card = model_card(read_findings(path), arm, small_tokenizer(tmp_path), 1000, "llama")
    assert f"over its control {arm.plan.control} (same seed and batches)" in card
    assert row["gain_low"] < row["gain"] < row["gain_high"]
    interval = f"{signed(row['gain_low'])} to {signed(row['gain_high'])}"
    assert f"mean over 3 seeds or folds: {signed(row['gain'])}, 95 % interval {interval}" in card


def test_an_export_of_a_complete_run_trains_nothing_and_is_reported(
    exported: tuple[RunFolder, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def no_ray(*_: object) -> None:
        raise AssertionError("Ray would have been started")

    monkeypatch.setattr(ray_start, "start_ray", no_ray)
    run, before = exported[0], ledgers(exported[0].path)
    folder = tmp_path / "models" / "best"
    words = ["--resume", str(run.path), "--export", "best", str(folder)]
    assert main(schedule_search, SearchOptions, "Search.", words) == 0
    best = run.finished()[0]
    assert f"Exported {best.plan.name} (validation loss {best.loss:.4f}) to {folder}" in capsys.readouterr().out
    assert ledgers(run.path) == before, "something was trained"
    assert [path.name for path in folder.parent.iterdir()] == ["best"], "a temporary folder is left"


def test_a_trainer_trains_with_the_schedule_and_the_table_that_were_exported(
    exported: tuple[RunFolder, Path], tmp_path: Path
) -> None:
    """Fresh weights are trained on rows of the run; schedule, table and settings come from the export alone."""
    run, model_folder = exported
    trial = next(trial for trial in run.finished() if trial.plan.config.teacher.schedule != "none")
    config, tokenizer = trial.plan.config, trial_tokenizer(run, trial.plan.config)
    write_found_schedule(run, trial, tmp_path, tokenizer.fingerprint)
    found = load_schedule(tmp_path)
    assert (found.teacher, found.optimizer, found.loop) == (config.teacher, config.optimizer, config.loop)
    assert (found.trial, found.run, found.eval_loss) == (trial.plan.name, run.path.name, trial.loss)
    assert found.table is not None and found.table.parent == tmp_path
    data, facts = prepare_run(config)
    rows = [{"input_ids": ids_T, "labels": ids_T} for ids_T in torch.from_numpy(data.train.ids_BxT.astype(np.int64))]
    trainer = GuidedTrainer(
        AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model_folder), dtype=torch.float32),
        TrainingArguments(str(tmp_path / "trained"), **found.arguments, **QUIET),
        train_dataset=rows,
        schedule=found,
    )
    assert trainer.teacher.table.checksum == facts["teacher"]["checksum"]
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == found.loop.steps
    assert losses[-1] < losses[0]


def test_the_folder_and_its_card_have_the_schedule_only_if_the_trial_had_a_teacher(
    exported: tuple[RunFolder, Path],
) -> None:
    run, folder = exported
    taught = run.finished()[0].plan.config.teacher.schedule != "none"
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert (folder / "schedule.json").is_file() == (folder / "teacher.table").is_file() == taught
    assert ("## To train with its schedule" in card) == taught


# ---- choice of the trial ---------------------------------------------------------------------------------------------


def searched(tmp_path: Path) -> RunFolder:
    """The run folder of a simulated search that has ended; no model is trained."""
    tune = SimulatedTune(folder=new_run(tmp_path / "run", small_sweep()), sweep=small_sweep())
    tune.run()
    return tune.folder


def checkpoint(run: RunFolder, name: str) -> None:
    (run.trial(name) / names.CHECKPOINT_FILE).write_bytes(b"weights")


def test_best_is_the_confirmation_of_lowest_final_loss(tmp_path: Path) -> None:
    """Searched trials are left out, because the text on which they are measured has chosen among them."""
    run = searched(tmp_path)
    losses = {plan.name: reports[-1][names.EVAL_LOSS] for plan, _, reports in run.trials() if plan.config.seed == 1}
    best = min(losses, key=lambda name: (losses[name], name))
    checkpoint(run, best)
    assert chosen_trial(Export(BEST, tmp_path / "new"), run).plan.name == best


def test_a_trial_may_be_named_if_it_finished_and_has_a_checkpoint(tmp_path: Path) -> None:
    run = searched(tmp_path)
    with pytest.raises(
        InputError,
        match=r"trial control-lr0.003-wu10-L2-s0 of run .* has no checkpoint any more, .*: give best, or run",
    ):
        chosen_trial(Export("control-lr0.003-wu10-L2-s0", tmp_path / "new"), run)
    checkpoint(run, "control-lr0.003-wu10-L2-s0")
    assert (
        chosen_trial(Export("control-lr0.003-wu10-L2-s0", tmp_path / "new"), run).plan.name
        == "control-lr0.003-wu10-L2-s0"
    )
    with pytest.raises(InputError, match=r"trial 'none-L9-s0' of run .* does not exist: give best, or one of "):
        chosen_trial(Export("none-L9-s0", tmp_path / "new"), run)


def test_a_trial_that_was_stopped_has_no_final_loss_and_is_refused(tmp_path: Path) -> None:
    run = searched(tmp_path)
    name = run.finished()[-1].plan.name
    run.close_trial(run.finished()[-1].plan, names.STOPPED, "by hand")
    with pytest.raises(InputError, match=f"trial '{re.escape(name)}' of run .* is stopped, not finished"):
        chosen_trial(Export(name, tmp_path / "new"), run)


def test_a_run_without_finished_trials_has_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no finished trial"):
        chosen_trial(Export(BEST, tmp_path / "new"), new_run(tmp_path / "run", small_sweep()))


def test_names_of_finished_trials_are_among_the_possible_names_of_the_search(tmp_path: Path) -> None:
    run = searched(tmp_path)
    finished = states(run, names.FINISHED)
    assert len(finished) == small_sweep().trials
    assert all(map(small_sweep().can_have, finished))


@pytest.mark.parametrize("keep", [False, True])
def test_an_export_of_a_named_trial_is_accepted_before_the_run_only_if_checkpoints_are_kept(
    tmp_path: Path, keep: bool
) -> None:
    sweep = small_sweep({"loop.keep_checkpoint": keep})
    export = Export("control-lr0.003-wu10-L1-s0", tmp_path / "new")
    check_export(Export(BEST, tmp_path / "new"), sweep, None)
    if keep:
        check_export(export, sweep, None)
    else:
        with pytest.raises(InputError, match="keeps the checkpoint of its best trial alone"):
            check_export(export, sweep, None)


def test_a_student_with_an_output_bias_is_refused_before_it_is_trained_and_after(tmp_path: Path) -> None:
    base = override(TrialConfig(), {"model.output_bias": "unigram", "loop.keep_checkpoint": True})
    plan = TrialPlan(name="none-s0", role=names.CONTROL, control="none-s0", config=base)
    study = Comparison(study="some", question="Which?", base=base, plans=(plan,))
    for trial in (BEST, "none-s0"):
        with pytest.raises(InputError, match=r"students of study some have an output bias, which .* leave out model\."):
            check_export(Export(trial, tmp_path / "new"), study, None)
    run = RunFolder.open(comparison(tmp_path / "run"))
    best = run.finished()[0].plan
    checkpoint(run, best.name)
    assert chosen_trial(Export(BEST, tmp_path / "new"), run).plan == best
    biased = replace(best, config=override(best.config, {"model.output_bias": "unigram"}))
    write_json(run.trial(best.name) / names.TRIAL_FILE, biased.to_dict())
    with pytest.raises(InputError, match=rf"trial {re.escape(best.name)} has an output bias .*: name a trial without"):
        chosen_trial(Export(BEST, tmp_path / "new"), run)


# ---- the folder ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(finished: tuple[Path, str], tmp_path: Path) -> RunFolder:
    """A copy of a finished run, which a test may damage."""
    return RunFolder.open(Path(shutil.copytree(finished[0], tmp_path / "run", ignore=shutil.ignore_patterns("tune"))))


def export_best(run: RunFolder, folder: Path) -> None:
    write_model_folder(run, run.finished()[0], folder)


@pytest.mark.parametrize(
    ("kind", "positions", "bias"),
    [
        ("gpt2", "n_positions", "none"),
        ("qwen3", "max_position_embeddings", "none"),
        (
            "phi",
            "max_position_embeddings",
            "unigram",
        ),  # the architecture has an output bias, which starts at the unigram
    ],
)
def test_a_student_of_another_architecture_loads_with_the_loss_that_it_had(
    run: RunFolder, tmp_path: Path, kind: str, positions: str, bias: str
) -> None:
    best = run.finished()[0].plan
    rows, context = trial_tokenizer(run, best.config).vocab_size + 7, best.config.tokens.context
    model = tiny_folder(tmp_path / kind, kind, vocab_size=rows, **{positions: context})
    changes = {"model.name": model.name, "model.layers": 2, "model.output_bias": bias, "loop.precision": "float32"}
    config = override(best.config, changes)
    write_json(run.trial(best.name) / names.TRIAL_FILE, replace(best, config=config).to_dict())
    best_checkpoint(run).unlink()
    data, _facts = prepare_run(config)
    reports: list[dict[str, Any]] = []
    train(config, data, reports.append, best_checkpoint(run))
    assert chosen_trial(Export(BEST, tmp_path / "model"), run).plan.config == config
    export_best(run, tmp_path / "model")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    assert loaded.config.model_type == kind
    ids_BxT = torch.from_numpy(data.eval.ids_BxT.astype(np.int64))
    with torch.inference_mode():
        assert loaded(input_ids=ids_BxT, labels=ids_BxT).loss.item() == pytest.approx(
            reports[-1][names.EVAL_LOSS], abs=1e-5
        )
    assert f"A {kind} model" in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def another_step(run: RunFolder) -> None:
    plan = run.finished()[0].plan
    save_checkpoint(best_checkpoint(run), fingerprint(identity(plan.config)), RunState(step=1), model={})


def another_model(run: RunFolder) -> None:
    plan = run.finished()[0].plan
    save_checkpoint(
        best_checkpoint(run), fingerprint(identity(plan.config)), RunState(step=plan.config.loop.steps), model={}
    )


def another_tokenizer(run: RunFolder) -> None:
    record = run.record()
    tables = {key: replace(table, tokenizer="0") for key, table in record.tables.items()}
    run.write_record(replace(record, tables=tables))


def best_checkpoint(run: RunFolder) -> Path:
    return run.trial(run.finished()[0].plan.name) / names.CHECKPOINT_FILE


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda run: flip(best_checkpoint(run)), r"checkpoint\.pt is damaged"),
        (another_step, r"checkpoint\.pt is of step 1, not the last: resume the run"),
        (another_model, r"checkpoint\.pt is not of model tiny as it is now: restore it"),
        (another_tokenizer, r"tokenizer train:\d+ of corpus .* is no longer what run .* was trained with: restore it"),
    ],
)
def test_a_checkpoint_or_tokenizer_that_no_longer_fits_the_trial_is_refused_and_no_folder_is_left(
    spoil: Callable[[RunFolder], None], told: str, run: RunFolder, tmp_path: Path
) -> None:
    spoil(run)
    with pytest.raises(InputError, match=told):
        export_best(run, tmp_path / "models" / "new")
    assert not (tmp_path / "models").exists()


def test_a_disk_too_small_for_the_model_is_reported_and_keeps_no_part_of_the_model(
    run: RunFolder, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "200k") as disk:
        with pytest.raises(
            InputError, match=r"^--export: cannot write .*/new \(.*\): give another folder, or free space"
        ):
            export_best(run, disk / "new")
        assert not list(disk.iterdir())


def test_an_existing_folder_with_files_is_not_overwritten(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"cannot write .*/new \(Directory not empty\)"):
        export_best(run, tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["thesis.txt"]


def test_card_of_a_winner_has_the_interval_of_its_arm_and_card_of_a_control_has_none(tmp_path: Path) -> None:
    run = groups_run(tmp_path / "run")
    found = read_findings(run)
    plans = {plan.name: plan for plan, _, _ in RunFolder.open(run).trials()}
    tokenizer = small_tokenizer(tmp_path)

    def card(role: str, arm: str) -> str:
        plan = next(plan for plan in plans.values() if (plan.role, plan.arm) == (role, arm))
        return model_card(found, FinishedTrial(plan, 5.0), tokenizer, 1000, "llama")

    confirmations = found.results.trials.query("role == 'confirm' and arm == 'bigram'").gain
    low, high = student_interval(confirmations.to_numpy(float))
    said = f"3 seeds that did not choose the setting: {signed(confirmations.mean())}, 95 % interval {signed(low)} to "
    assert f"{said}{signed(high)}" in card(names.CONFIRM, "bigram")
    assert "none, for this is a control" in card(names.CONTROL, "control")
    assert "the control of its run" in card(names.CONTROL, "control")


@pytest.mark.parametrize(("packing", "first"), [("packed", "</s>"), ("as_published", "<s>")])
def test_a_text_begins_with_the_same_token_as_in_training(tmp_path: Path, packing: str, first: str) -> None:
    tokenizer = small_tokenizer(tmp_path)
    fast = read_back(tokenizer, tmp_path, packing)
    row = tokenizer.encoder.encode("the cat sees", add_special_tokens=False).ids
    assert fast("the cat sees").input_ids == [fast.convert_tokens_to_ids(first), *row]


@pytest.mark.parametrize(
    ("packing", "put_around", "declared"),
    [
        ("packed", "<s> $A", ("</s>", "</s>", None)),  # rows are joined by an eos, without padding
        ("as_published", "<s> $A", ("<s>", None, "<pad>")),
        ("as_published", "<s> $A </s>", ("<s>", "</s>", "<pad>")),
        ("as_published", "$A", (None, None, "<pad>")),
    ],
)
def test_only_tokens_that_training_used_are_declared(
    tmp_path: Path, packing: str, put_around: str, declared: tuple[str | None, ...]
) -> None:
    tokenizer = small_tokenizer(tmp_path)
    tokenizer.encoder.post_processor = processors.TemplateProcessing(
        single=put_around, special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    fast = read_back(tokenizer, tmp_path, packing)
    assert (fast.bos_token, fast.eos_token, fast.pad_token) == declared
    ids = special_ids(tokenizer, override(small_config(tmp_path), {"tokens.packing": packing}))
    assert tuple(None if i is None else tokenizer.encoder.id_to_token(i) for i in ids.values()) == declared


def test_a_padding_token_that_is_also_the_end_of_text_is_not_declared(tmp_path: Path) -> None:
    """transformers would freeze the embedding of a padding token, which here is also the end-of-text token."""
    tokenizer = replace(small_tokenizer(tmp_path), pad_id=2)
    ids = special_ids(tokenizer, override(small_config(tmp_path), {"tokens.packing": "as_published"}))
    assert ids["pad_token_id"] is None


@pytest.mark.parametrize("packing", ["packed", "as_published"])
def test_text_that_spells_a_special_token_is_read_as_in_training(tmp_path: Path, packing: str) -> None:
    for name, tokenizer in {"trained here": small_tokenizer(tmp_path)}.items() | published(tmp_path).items():
        fast = read_back(tokenizer, tmp_path / name, packing)
        for text in ("a </s> b", "</s>", "<s></s> <pad>", "x<unk>y", " </s>\n", "the cat sees a red door"):
            row = tokenizer.encoder.encode(text, add_special_tokens=packing != "packed").ids
            expected = [tokenizer.eos_id, *row] if packing == "packed" else row
            assert fast(text).input_ids == expected, (name, text)


def read_back(tokenizer: TextTokenizer, folder: Path, packing: str) -> Any:
    """Export the tokenizer, and load it from the exported folder with transformers alone."""
    folder.mkdir(exist_ok=True)
    config = override(small_config(folder), {"tokens.packing": packing})
    fast_tokenizer(tokenizer, config).save_pretrained(folder / "exported")
    return AutoTokenizer.from_pretrained(folder / "exported")


def published(folder: Path) -> dict[str, TextTokenizer]:
    return {name: given_tokenizer(str(save(made, folder / "given" / name))) for name, made in published_kinds().items()}


def small_tokenizer(folder: Path) -> TextTokenizer:
    return load_tokenizer("train:512", lambda: iter(small_sentences()), "small", folder / "cache")
