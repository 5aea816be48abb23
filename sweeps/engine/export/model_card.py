"""The README.md of an exported model: what it is, how it was trained, its gain, and how to load it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.columns import (
    ARM,
    EVAL_HALF,
    EVAL_ROWS,
    LAYERS,
    LOOP_STEPS,
    ROLE,
    TRIAL,
)
from analysis.results import Findings
from analysis.sections.document import as_markdown
from analysis.sections.run_sections import LEAK, SAME_TEXT
from analysis.tables.arms import HIGH, LOW, PLANNED, N, compare_arms
from analysis.tables.confirmations import confirmed
from analysis.tables.planned import planned_trials
from analysis.wording import describe, number, out_of, plural, signed
from sweeps.engine.export.found_schedule import has_schedule, has_table_file
from sweeps.engine.folder import FinishedTrial
from trainable import names
from trainable.config import flatten
from trainable.loops.found_schedule import SCHEDULE_FILE, TABLE_FILE
from trainable.record.run_record import own_name
from trainable.text.tokenizer.tokenizer import TextTokenizer

_HEAD = """---
library_name: transformers
pipeline_tag: text-generation
tags: [{kind}, bigram-guided-pre-training]
---
"""
_LOAD = """from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
inputs = tokenizer("Once upon a time", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=20)[0]))
"""
_TRAIN = """from trainable import GuidedTrainer, load_schedule
from transformers import TrainingArguments

found = load_schedule(".")  # this folder
arguments = TrainingArguments("trained", **found.arguments)
GuidedTrainer(model, arguments, train_dataset=rows, schedule=found{teacher}).train()  # a model and rows of your own
"""


def model_card(run: Findings, trial: FinishedTrial, tokenizer: TextTokenizer, parameters: int, kind: str) -> str:
    """Markdown with the front matter that the Hugging Face hub reads; kind: transformers' name of the architecture."""
    row = run.results.trials.set_index(TRIAL, drop=False).loc[trial.plan.name]
    settings = "\n".join(f"{key}: {_shown(value)}" for key, value in flatten(trial.plan.config).items())
    parts = [
        f"{_HEAD.format(kind=kind)}\n# {run.record.study}: {trial.plan.name}",
        " ".join(_what(run, trial, tokenizer, parameters, kind)),
        _table(run, row),
        "\n".join(f"- {line}" for line in _notes(run, trial)),
        f"## To load it\n\n```python\n{_LOAD}```",
        " ".join(_prompts(trial, tokenizer)),
        *_schedule(trial),
        f"## All settings\n\n```yaml\n{settings}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _what(run: Findings, trial: FinishedTrial, tokenizer: TextTokenizer, parameters: int, kind: str) -> Iterator[str]:
    config = trial.plan.config
    yield (
        f"A {kind} model ({as_markdown(_shown(config.model.name))}, {plural(config.model.layers)}, "
        f"{parameters:,} parameters, vocabulary {tokenizer.vocab_size:,}, context {config.tokens.context}), "
        "trained from scratch, "
        f"{config.loop.steps} steps."
    )
    if config.teacher.schedule == "none":
        yield "It had no teacher: it is the control of its run."
    else:
        schedule = describe({**flatten(config)})
        taught = "Nothing taught it; its loss was multiplied by 1 - w"
        if config.teacher.has_table:
            who = "small trained model" if config.teacher.kind == "model" else f"{config.teacher.kind} table"
            taught = f"A {who} taught it, with weight w in the loss"
        yield f"{taught}, where w falls from 1 to a minimum: {schedule}."
    yield _rank(run, trial)


def _rank(run: Findings, trial: FinishedTrial) -> str:
    trials = run.results.trials
    alike = trials[EVAL_HALF] == trial.plan.config.corpus.eval_half if EVAL_HALF in trials else True
    finished = trials[(trials["state"] == names.FINISHED) & alike]
    better = int((finished[names.EVAL_LOSS] < trial.loss).sum())
    place = "the lowest" if better == 0 else f"number {better + 1} by"
    return (
        f"Its final validation loss is {place} of the {len(finished)} finished trials of the run on the "
        "same validation text."
    )


def _table(run: Findings, row: Mapping[Any, Any]) -> str:
    corpus, record = run.record.corpus, run.record
    interval = f" ± {number(row[names.EVAL_LOSS_SE], '.4f')} (standard error over blocks)"
    rows = {
        "validation loss": f"{row[names.EVAL_LOSS]:.6f}{interval}, nats per token, plain cross-entropy",
        "gain": " ".join(_gain(run, row)),
        "corpus": f"{as_markdown(corpus.source)}, fingerprint `{corpus.fingerprint}`, {corpus.rows:,} rows",
        "rows": f"{corpus.train_rows:,} to train on, {corpus.eval_rows:,} to validate on (see the settings)",
        "run": f"{as_markdown(f'{record.study}/{record.run}')}, begun {record.created}",
        "git commit": record.git_commit or "unknown",
        "made with": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
    }
    return "| | |\n|---|---|\n" + "\n".join(f"| {key} | {_cell(value)} |" for key, value in rows.items())


def _gain(run: Findings, row: Mapping[Any, Any]) -> Iterator[str]:
    """The gain of a trial in words: on its own seed, and as a mean over units with an interval."""
    if row[ROLE] == names.CONTROL:
        yield "none, for this is a control"
        return
    yield f"{signed(row[names.GAIN])} nats per token over its control {row['control']} (same seed and batches)"
    found = _arm_interval(run, row) if run.record.is_comparison else _confirmed_interval(run, row)
    if found is None:
        yield "; no interval, for it takes at least 2 seeds or folds: no claim from one"
        return
    mean, low, high, units = found
    yield f"; mean over {units}: {signed(mean)}, 95 % interval {signed(low)} to {signed(high)}"


Interval = tuple[float, float, float, str]  # mean, low, high, over what


def _arm_interval(run: Findings, row: Mapping[Any, Any]) -> Interval | None:
    tuned = run.record.tuned
    table = compare_arms(run.results, run.record.arms, tuned, planned_trials(run.record))
    same = (table[ARM] == row[ARM]) & (table[LAYERS] == row[LAYERS]) & (table[LOOP_STEPS] == row[LOOP_STEPS])
    same &= (table[EVAL_ROWS] == row[EVAL_ROWS]) | (table[EVAL_ROWS].isna() & bool(pd.isna(row[EVAL_ROWS])))
    if tuned:
        same &= table[tuned] == row[tuned]
    for found in table[same].to_dict("records"):
        if np.isfinite(found[LOW]):
            return found[names.GAIN], found[LOW], found[HIGH], f"{out_of(found[N], found[PLANNED])} seeds or folds"
    return None


def _confirmed_interval(run: Findings, row: Mapping[Any, Any]) -> Interval | None:
    """The gain of the trial's arm at its depth, over the seeds that did not choose its setting."""
    table = compare_arms(confirmed(run.results, run.record), run.record.arms, None, planned_trials(run.record))
    for found in table.to_dict("records"):
        if (found[ARM], found[LAYERS]) == (row[ARM], row[LAYERS]) and np.isfinite(found[LOW]):
            seeds = f"{out_of(found[N], found[PLANNED])} seeds that did not choose the setting"
            return found[names.GAIN], found[LOW], found[HIGH], seeds
    return None


def _notes(run: Findings, trial: FinishedTrial) -> Iterator[str]:
    config = trial.plan.config
    if run.record.corpus.demonstration:
        yield "Trained on the built-in text alone, four novels of 1 MB: it shows that all works, and has read little."
    if config.teacher.schedule != "none" and config.teacher.rows == "all":
        yield LEAK
    if config.loop.precision != "float32":
        yield f"Trained and validated under autocast to {config.loop.precision}; the weights here are float32."
    yield "Of many trials, the one with the lowest validation loss looks a little better than it is."
    if config.corpus.folds is None:
        yield SAME_TEXT


def _schedule(trial: FinishedTrial) -> Iterator[str]:
    """Section on how to train with the exported schedule; none for a trial without one."""
    config = trial.plan.config
    if not has_schedule(config):
        return
    table = f" `{TABLE_FILE}` is its teacher's table, which teaches text of this tokenizer."
    if not has_table_file(config):
        table = ""
        if config.teacher.has_table:
            table = f" Its teacher, of kind `{config.teacher.kind}`, is not in this folder: give one with `teacher=`."
    teacher = ", teacher=teacher" if config.teacher.has_table and not has_table_file(config) else ""
    yield (
        f"## To train with its schedule\n\n`{SCHEDULE_FILE}` is the schedule, with the settings that it was found with."
        f"{table} transformers' Trainer takes them:\n\n```python\n{_TRAIN.format(teacher=teacher)}```"
    )


def _prompts(trial: FinishedTrial, tokenizer: TextTokenizer) -> Iterator[str]:
    eos = tokenizer.special.eos
    if trial.plan.config.tokens.packing == "packed":
        yield f"Rows of text stood end to end with `{eos}` between them, so the tokenizer begins a text with it."
    elif tokenizer.eos_id not in tokenizer.encoder.encode("a").ids:
        yield "In training no text had an end-of-text token, so none is declared: say how many tokens to generate."
    yield (
        f"Text that spells a special token, such as `{eos}`, is only text to the tokenizer, as in training: "
        "`split_special_tokens` in tokenizer_config.json."
    )
    if tokenizer.switched_off:
        yield f"Switched off in the tokenizer, in training and here: {', '.join(tokenizer.switched_off)}."
    yield f"In training the model never saw more than {trial.plan.config.tokens.context} tokens at once."


def _cell(text: str) -> str:
    return text.replace(" ;", ";")


def _shown(value: Any) -> str:
    return "none" if value is None else own_name(str(value), Path.cwd())
