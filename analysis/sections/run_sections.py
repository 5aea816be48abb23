"""Sections that every report has: question, setting, failures, cost, what was not controlled, where things are."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from analysis.columns import (
    ARM,
    FOLDS,
    LAYERS,
    LEARNING_RATE,
    LOOP_STEPS,
    PRECISION,
    REASON,
    ROLE,
    SCHEDULE,
    STATE,
    STEPS_SAVED,
    TEACHER_ROWS,
    TRIAL,
)
from analysis.results import Findings, Results
from analysis.sections.document import Section, Table
from analysis.tables import best as ranking
from analysis.tables.answer import LEAKING_ROWS
from analysis.tables.confirmations import NO_TEACHER
from analysis.tables.planned import Lack, missing_trials, planned_by_role, search_lacks
from analysis.wording import clip, plural
from trainable import names

MOST_NAMED: Final = 20  # number of missing trials that are listed by name
TRIALS_OF: Final = {names.CONTROL: "controls", names.SEARCH: "search trials", names.CONFIRM: "confirmations"}
NOISE: Final = 2  # largest ratio over smallest ratio; above it, a median ratio is too noisy to be shown
SAME_TEXT: Final = (
    "Seeds change initial weights and the order of batches, not the validation blocks: the intervals do not cover the "
    "choice of text."
)
DEMONSTRATION: Final = (
    "Measured on the built-in text alone, four novels of 1 MB: a first answer, no claim about other text."
)
LEAK_PROBE: Final = "LEAK PROBE"
LEAK: Final = f"{LEAK_PROBE}: the teacher has counted the validation rows too; no gain here says that a teacher helps."


ROWS: Final = {"student": "the rows that the student trains on", "train_split": "rows of the training split"}


def question(found: Findings) -> Section:
    """The question of the study, and the words that the report uses."""
    return Section(
        "Question",
        (
            found.record.question,
            "An arm is one way of training. A teacher gives soft targets; their weight in the loss falls from 1 to the "
            "minimum weight over T scheduling steps.",
            "The control of a trial has the same depth, seed and batches, and no teacher. gain = validation loss of "
            "the control - that of the trial, at the same step, in nats per token: above 0, the trial is better.",
        ),
        subject="question",
    )


def setting(found: Findings, teachers: Sequence[str]) -> Section:
    """Data, training and machine. teachers: the lines about the teachers."""
    record, settings = found.record, found.settings
    corpus, tokens = record.corpus, record.tokens
    blocks = settings["loop.batch_blocks"] * settings["loop.accumulation"]
    steps = sorted(set(found.results.trials[LOOP_STEPS])) or [settings[LOOP_STEPS]]
    every = sorted(set(found.results.trials["loop.eval_every"])) or [settings["loop.eval_every"]]
    epochs = " or ".join(f"{n * blocks / tokens.train_blocks:.2f}" for n in steps)
    of_split = f" (split {corpus.split})" if corpus.split else ""
    lines = [
        f"Corpus: {corpus.source}{of_split}, {corpus.train_rows:,} training and {corpus.eval_rows:,} validation rows.",
        f"Tokens: {tokens.train_tokens:,} to train on, {tokens.eval_tokens:,} to validate on; "
        f"vocabulary {record.tokenizer.vocab_size:,}, context {settings['tokens.context']}.",
        *_reading(found),
        f"Training: {' or '.join(map(str, steps))} steps of {blocks} blocks, {epochs} epochs over the data; "
        f"evaluated every {' or '.join(map(str, every))} steps.",
        _precision(found),
        *teachers,
        f"Machine: {_pairs(record.hardware)}.",
        f"Software: {_pairs(record.versions)}; git commit {record.git_commit or 'unknown'}.",
    ]
    if corpus.demonstration:
        lines.insert(0, "The built-in text, four novels of 1 MB: a first answer about English text of that size.")
    return Section("Setting", tuple(lines), subject="setting")


def _precision(found: Findings) -> str:
    """A sentence on the precision of the trials, and on the reason for a precision that `auto` chose."""
    said = " and ".join(sorted(set(found.results.trials[PRECISION]))) or found.settings[PRECISION]
    weights = "" if said == "float32" else ", weights and their updates in float32"
    because = found.record.precision_from
    chosen = "" if because is None else f"; loop.precision=auto chose it, because {because}"
    return f"Precision: matrix products in {said}{weights}{chosen}."


def mixed_precisions(trials: pd.DataFrame) -> list[str]:
    """A warning where compared trials have different precisions; an empty list where all have the same."""
    precisions = sorted(set(trials[PRECISION].dropna())) if PRECISION in trials else []
    if len(precisions) < 2:
        return []
    which = "; ".join(f"{kind} in {', '.join(trials.loc[trials[PRECISION] == kind, TRIAL])}" for kind in precisions)
    return [f"Trials have different precisions ({which}): a difference between them may come from rounding."]


def _reading(found: Findings) -> Iterator[str]:
    """Lines on the end-of-text token, and on the number of rows that the tokenizer could not read."""
    corpus, tokenizer = found.record.corpus, found.record.tokenizer
    if tokenizer.eos is not None:
        yield f"End of text: the token {tokenizer.eos!r}, from {tokenizer.eos_from}."
    if tokenizer.switched_off:
        yield f"Switched off in the tokenizer: {', '.join(tokenizer.switched_off)}."
    rows = corpus.train_rows + corpus.eval_rows - corpus.empty_rows
    if corpus.unread_rows:
        share = corpus.unread_rows / rows
        warning, so = ("Warning: ", ": losses say little about such text") if share > names.UNREAD_TOLD else ("", "")
        yield (
            f"{warning}{corpus.unread_rows:,} of {rows:,} rows with text ({share:.1%}) are mostly unknown to the "
            f"tokenizer, or give no token{so}."
        )
    if corpus.eos_rows:
        yield (
            f"Warning: {corpus.eos_rows:,} of {rows:,} rows hold text that the tokenizer reads as the end-of-text "
            "token."
        )


def _pairs(facts: Mapping[str, Any]) -> str:
    """ "cpus 2, gpus H200 + H200": the facts that are known, lists joined."""
    shown = {key: " + ".join(map(str, value)) if isinstance(value, list) else value for key, value in facts.items()}
    return ", ".join(f"{key} {value}" for key, value in shown.items() if value not in (None, ""))


def failed(found: Findings) -> Section:
    """Trials that failed, with their reasons, and trials that have not ended or are missing."""
    trials = found.results.trials
    failed = trials[trials[STATE] == names.FAILED]
    unfinished = trials.loc[trials[STATE] == names.RUNNING, TRIAL]
    missing = list(_missing(found))
    lines = [f"{len(failed)} failed, {len(unfinished)} not ended{f', {missing[0]}' if missing else ''}."]
    if len(unfinished):
        lines.append(f"Not ended (running, or cut short): {', '.join(unfinished)}.")
    lines.extend(missing[1:])
    lines.extend(_without_control(found))
    rows = tuple((row[TRIAL], str(row[names.STEP]), clip(row[REASON])) for _, row in failed.iterrows())
    tables = (Table(("trial", "last step", "reason"), rows),) if rows else ()
    return Section("Failed and unfinished trials", tuple(lines), tables, subject="failed")


def _missing(found: Findings) -> Iterator[str]:
    """The number of planned trials that are missing, then a line with their names; nothing where none is missing."""
    names_of, lacks = missing_trials(found), search_lacks(found)
    count = len(names_of) + sum(lack.missing for lack in lacks)
    if not count:
        return
    yield f"{count} of {sum(planned_by_role(found).values())} planned trials missing"
    which = names_of[:MOST_NAMED] + [f"{len(names_of) - MOST_NAMED} more"] * (len(names_of) > MOST_NAMED)
    which += [f"{plural(x.layers)}: {x.missing} of {x.planned} {_lacked(x)}" for x in lacks]
    why = (
        "never begun, or their folders are gone"
        if found.record.complete
        else "not begun yet, or their folders are gone"
    )
    yield f"Missing ({why}): {', '.join(which)}."


def _lacked(lack: Lack) -> str:
    """Kind of the missing trials of a search, and their arm in a search in groups."""
    if not lack.arm:
        return TRIALS_OF[lack.role]
    return f"{'search trials' if lack.role == names.SEARCH else 'confirmations'} of {lack.arm}"


def _without_control(found: Findings) -> Iterator[str]:
    """Sentences on guided trials that never began, because their control failed."""
    trials = found.results.trials
    for control in trials.loc[(trials[ROLE] == names.CONTROL) & (trials[STATE] == names.FAILED), TRIAL]:
        planned = [name for name, its_control in found.record.planned.items() if its_control == control]
        left = [name for name in planned if name not in set(trials[TRIAL])]
        if left or not planned:
            lost = ", ".join(left) or "the guided trials of its depth and seed"
            yield f"Not run, because their control {control} failed: {lost}."


def peak_memory(found: Findings) -> str:
    """A sentence on the largest peak memory of trials without and with a teacher, where it is known."""
    trials = found.results.trials
    peaks = trials.groupby(trials[SCHEDULE] == NO_TEACHER)[names.PEAK_MEMORY_MIB].max()
    known = {is_control: f"{peak:,.0f} MiB" for is_control, peak in peaks.dropna().items()}
    words = {True: "without a teacher", False: "with a teacher"}
    said = ", ".join(f"{known.get(kind, 'not known')} {words[kind]}" for kind in words if kind in peaks.index)
    return f"Peak memory of a trial: {said or 'not known'}."


def step_time_table(results: Results, by_arm: bool = False) -> tuple[Table, ...]:
    """Table of the time of plain and guided steps, by depth (and arm); no table without guided trials.

    Trials that shared a machine give noisy times.
    """
    by = (LAYERS, ARM) if by_arm else (LAYERS,)
    headings = ("plain step, ms", "guided step, ms", "guided / plain", "lowest to highest", "trials")
    rows = tuple(
        (
            *map(str, key if isinstance(key, tuple) else (key,)),
            f"{1000 * row['plain_seconds']:.1f}",
            f"{1000 * row['guided_seconds']:.1f}",
            f"{row['ratio']:.2f}" if row["ratio_high"] <= NOISE * row["ratio_low"] else "too noisy",
            f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}",
            str(int(row["trials"])),
        )
        for key, row in ranking.step_time(results, by).iterrows()
    )
    return (Table(("layers", *(["arm"] if by_arm else []), *headings), rows),) if rows else ()


def not_controlled(found: Findings) -> Section:
    """Reasons why the result may not hold elsewhere."""
    folds = found.settings[FOLDS]
    lines = [
        *([] if found.record.tuned or found.record.is_grouped else _untuned(found)),
        *mixed_precisions(found.results.trials),
        f"{'One corpus' if folds else 'One corpus, one split, one tokenizer'}, one width. A gain early in training may "
        "fade in a longer run.",
        *_not_published(found),
        *(() if folds else (SAME_TEXT,)),
        "Trials may have shared the machine: seconds are noisier than steps.",
        *_early_controls(found),
    ]
    return Section("Not controlled", tuple(lines), subject="not controlled")


def _untuned(found: Findings) -> Iterator[str]:
    """A sentence on learning rates that the run did not choose; none where an arm ran with several."""
    trials = found.results.trials
    arms = trials[ARM] if ARM in trials else pd.Series("", trials.index)  # the oldest searches name no arm
    rates = trials[LEARNING_RATE].groupby(arms).unique()
    if len(rates) == 0 or rates.map(len).max() > 1:
        return
    by_arm = {arm: float(rates[arm][0]) for arm in found.record.arms or rates.index if arm in rates.index}
    if len(set(by_arm.values())) > 1:
        each = ", ".join(f"{arm} {rate:g}" for arm, rate in by_arm.items())
        yield f"Each arm's learning rate was set before this run, which tuned none: {each}."
    else:
        yield from (f"Learning rate {rate:g} for all arms: tuned for none." for rate in set(by_arm.values()))


def _not_published(found: Findings) -> Iterator[str]:
    """A sentence for a comparison whose model does not have the published size."""
    name = found.settings["model.name"]
    if found.record.is_comparison and name != "small-llama2":
        published = "small-llama2, 588 steps of 32,768 tokens, BookCorpus"
        yield f"The published size ({published}) was not run: the model here is {name}."


def _early_controls(found: Findings) -> Iterator[str]:
    """Sentences on controls that had their final loss before the end: steps saved against them look too good."""
    trials = found.results.trials
    early = trials[(trials[ROLE] == names.CONTROL) & (trials[STEPS_SAVED] >= 1)]
    for _, row in early.iterrows():
        yield (
            f"{row[TRIAL]} first had its final loss {row[STEPS_SAVED]:.0f} steps before its end: "
            "steps and seconds saved against it are too large by as much."
        )


def where(found: Findings, pictures: Sequence[str]) -> Section:
    """Places of tables, pictures and logs, and the command that makes them again."""
    commands = [
        ("In Python", f"from analysis.results import load; trials, curves = load({found.called!r})"),
        ("To make tables, pictures and summary again", again(found.called)),
    ]
    if (found.folder / names.TRIALS_FOLDER).is_dir():
        logs = f"{found.called}/{names.TRIALS_FOLDER}"
        commands.insert(1, ("TensorBoard", shlex.join(["tensorboard", "--logdir", logs])))
    return Section(
        "Where things are",
        (
            f"Tables: {names.TRIALS_TABLE}, {names.CURVES_TABLE} (columns: results/README.md).",
            f"Pictures: {names.FIGURES_FOLDER}/{', '.join(pictures)}",
        ),
        subject="files",
        commands=tuple(commands),
    )


def again(called: str, module: str = "summary") -> str:
    """The command that makes tables, pictures and summary of a run again, or its page (module: report)."""
    return shlex.join(["python", "-m", f"analysis.{module}", called])


def leak_status(found: Findings) -> Section:
    """Whether a teacher of this run has counted rows that validate, from the setting teacher.rows of each trial."""
    guided = found.results.trials[found.results.trials[ROLE] != names.CONTROL]
    leaking = guided[guided[TEACHER_ROWS] == LEAKING_ROWS]
    arms = sorted(set(leaking[ARM])) if ARM in leaking else []
    planned = {found.record.teacher.rows} if found.record.teacher and not found.record.is_comparison else set()
    counted = set(guided[TEACHER_ROWS]) | planned
    which = " or ".join(ROWS.get(rows, rows) for rows in sorted(counted - {LEAKING_ROWS}))
    folds = " Each fold has a table of its own, without the fold's rows." if found.settings[FOLDS] else ""
    if not counted:
        said = "No leak: no trial of this run has a teacher."
    elif LEAKING_ROWS not in counted:
        said = f"No leak: teachers counted only {which}; none of the validation rows were counted.{folds}"
    elif len(leaking) == len(guided) or not all(arms) or not arms:
        said = LEAK
    else:
        said = (
            f"{LEAK_PROBE} in {', '.join(arms)}: that teacher has counted the validation rows too, so its gain does "
            f"not say that a teacher helps. The other teachers counted only {which}.{folds}"
        )
    return Section("Leak status", (said,), subject="leak", is_warning=LEAKING_ROWS in counted)


def wall_clock(seconds: float | None) -> str:
    """A sentence on the duration of the whole run."""
    if seconds is None:
        return "Wall clock: the run has not ended (or was cut short)."
    return f"Wall clock: {seconds:,.0f} s ({seconds / 60:.1f} min)."
