"""What a run found, in words and tables: the same text as summary.md and in the terminal.

Rebuild the tables, figures and summary of a run (also of one that is still going) from its ledgers:

    python -m analysis.summary results/schedule_search/my_run
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import pandas as pd
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from analysis import best as ranking
from analysis.best import (
    BETTER,
    CONFIRMED,
    CONFIRMED_HIGH,
    CONFIRMED_LOW,
    CONFIRMED_N,
    CONFIRMED_SD,
    CONFIRMED_SECONDS_SAVED,
    CONFIRMED_STEPS_SAVED,
    RANK,
    UNDECIDED,
    WORSE,
)
from analysis.figures import FIGURES, describe, draw_all, plural
from analysis.results import (
    LAYERS,
    MIN_WEIGHT,
    REASON,
    ROLE,
    SCHEDULE,
    SECONDS_SAVED,
    STATE,
    STEPS_SAVED,
    TEACHER_STEPS,
    TRIAL,
    Results,
    flatten,
    load,
    read_run,
    write,
)
from trainable import names
from trainable.errors import InputError
from trainable.files import atomic_file

VERDICTS: Final = {
    BETTER: "guided is better",
    WORSE: "guided is worse, although it won the search",
    UNDECIDED: "undecided, for the interval holds 0",
}
TOP: Final = 3  # schedules shown a depth
NEEDED: Final = {"study", "run", "versions", "git_commit", "hardware", "corpus", "tokenizer", "tokens", "teacher"}
LEAK: Final = "LEAK PROBE: the teacher has counted the validation rows too; no gain here says that a teacher helps."
DASH: Final = "-"  # what a table shows for nothing


@dataclass(frozen=True)
class Table:
    """Headings and rows of text, fit for Markdown and for the terminal."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A title, lines of text (points of a list), and tables below them."""

    title: str
    lines: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class _Run:
    """All that the sections are written from."""

    folder: Path
    record: dict[str, Any]
    results: Results
    settings: dict[str, Any]
    ranked: pd.DataFrame


def write_summary(run: Path) -> str:
    """Write summary.md of a run folder (atomically) and return its text. Raises InputError if it is not a run."""
    text = _markdown(_read(run))
    with atomic_file(Path(run) / names.SUMMARY_FILE, "w") as stream:
        stream.write(text)
    return text


def print_summary(run: Path, console: Console) -> None:
    """Print the text and tables of summary.md in the terminal. Raises InputError if the folder is not a run."""
    for section in sections(_read(run)):
        console.print(f"\n[bold]{escape(section.title)}[/bold]")
        for line in section.lines:
            console.print(f"  {escape(line)}", highlight=False)
        for table in section.tables:
            console.print(_rich_table(table))


def rebuild(run: Path) -> str:
    """Write the tables, figures and summary.md of a run from its ledgers; return the summary's text."""
    if (Path(run) / names.TRIALS_FOLDER).is_dir():
        write(run)
    draw_all(run, load(run))
    return write_summary(run)


# ---- what is said ----------------------------------------------------------------------------------------------------


def sections(run: _Run) -> list[Section]:
    """The summary, section by section."""
    return [
        _question(run),
        _setting(run),
        _verdict(run),
        _best_schedules(run),
        _stopped(run),
        _failed(run),
        _cost(run),
        _not_controlled(run),
        _where(run),
    ]


def _question(run: _Run) -> Section:
    return Section(
        "Question",
        (
            run.record["spec"]["question"],
            "The teacher is a bigram table whose weight in the loss falls from 1 to a floor over T scheduling steps.",
            "gain = validation loss of the control (same depth, seed and batches, no teacher) minus the trial's own, "
            "at the same step, in nats per token: positive means that guided is better.",
        ),
    )


def _setting(run: _Run) -> Section:
    corpus, tokens, settings = run.record["corpus"], run.record["tokens"], run.settings
    blocks = settings["loop.batch_blocks"] * settings["loop.accumulation"]
    epochs = settings["loop.steps"] * blocks / tokens["train_blocks"]
    lines = [
        f"Corpus: {corpus['source']}, {corpus['train_rows']:,} training and {corpus['eval_rows']:,} validation rows.",
        f"Tokens: {tokens['train_tokens']:,} to train on, {tokens['eval_tokens']:,} to validate on; "
        f"vocabulary {run.record['tokenizer']['vocab_size']:,}, context {settings['tokens.context']}.",
        f"Training: {settings['loop.steps']} steps of {blocks} blocks, {epochs:.2f} epochs over the data; "
        f"evaluated every {settings['loop.eval_every']} steps.",
        _teacher_line(run.record["teacher"]),
        _leak_line(run),
        f"Machine: {_pairs(run.record['hardware'])}. Made with {_pairs(run.record['versions'])}; "
        f"git commit {run.record['git_commit'] or 'unknown'}.",
    ]
    if corpus["demonstration"]:
        lines.insert(
            0, "Only the built-in demonstration text: it shows that everything works, not how language behaves."
        )
    return Section("Setting", tuple(lines))


def _teacher_line(teacher: Mapping[str, Any] | None) -> str:
    if teacher is None:
        return "Teacher: none."
    size = f"Teacher: {teacher['bigrams']:,} bigrams, smoothing {teacher['smoothing']}; its own validation loss "
    if teacher["eval_loss"] is None:
        return size + "is not finite or not recorded (an unsmoothed table gives unseen pairs no probability)."
    return size + f"is {teacher['eval_loss']:.4f} nats per token."


def _pairs(facts: Mapping[str, Any]) -> str:
    """ "cpus 2, gpus H200 + H200": what is known, lists joined."""
    shown = {key: " + ".join(map(str, value)) if isinstance(value, list) else value for key, value in facts.items()}
    return ", ".join(f"{key} {value}" for key, value in shown.items() if value not in (None, ""))


def _counted_rows(run: _Run) -> set[str]:
    """Which rows the teachers of this run were counted on (values of teacher.rows)."""
    trials = run.results.trials
    guided = set(trials.loc[trials[ROLE] != names.CONTROL, "teacher.rows"])
    return guided | ({run.record["teacher"]["rows"]} if run.record["teacher"] else set())


def _leak_line(run: _Run) -> str:
    rows = _counted_rows(run)
    if "all" in rows:
        return LEAK
    counted = {"student": "the rows the student trains on", "train_split": "all rows of the training split"}
    which = " or ".join(counted[name] for name in sorted(rows)) or "nothing"
    return f"No leak: the teacher counted {which}; none of the validation rows were counted."


def _verdict(run: _Run) -> Section:
    winners: dict[int, Any] = {row[LAYERS]: row for row in run.ranked[run.ranked[RANK] == 1].to_dict("records")}
    depths = sorted({*run.record["spec"]["layers"], *winners})
    planned = len(run.record["spec"]["confirm_seeds"])
    lines = [LEAK] if "all" in _counted_rows(run) else []
    lines += [f"{plural(depth)}: {_answer(winners.get(depth), planned)}" for depth in depths]
    if run.record["corpus"]["demonstration"]:
        lines.append("Measured on the demonstration text alone: no claim about other text.")
    return Section("Verdict", tuple(lines))


def _answer(row: Mapping[str, Any] | None, planned: int) -> str:
    """The answer of one depth, from its best row (None: no trial has finished) and the number of planned seeds."""
    if row is None:
        return "no guided trial has finished, so there is no answer yet."
    n = row[CONFIRMED_N]
    if n == 0:
        return f"{describe(row)}: gain {_signed(row[names.GAIN])} on the seed that chose it; no claim from one seed."
    if n == 1:
        return f"{describe(row)}: gain {_signed(row[CONFIRMED])} on one new seed; no claim from one seed."
    seeds = f"{n} seeds" if n >= planned else f"{n} of {planned} planned seeds"
    return (
        f"{VERDICTS[ranking.verdict(row)]}. {describe(row)}: confirmed gain {_signed(row[CONFIRMED])} "
        f"(sd {row[CONFIRMED_SD]:.4f} over {seeds} that did not choose it; 95 % interval "
        f"{_signed(row[CONFIRMED_LOW])} to {_signed(row[CONFIRMED_HIGH])})."
    )


def _best_schedules(run: _Run) -> Section:
    top = run.ranked[run.ranked[RANK] <= TOP]
    headings = (
        *("layers", "schedule", "T", "floor", "gain (search seed)", "confirmed gain, mean ± sd (n)"),
        *("steps saved, search / confirmed", "seconds saved, search / confirmed"),
    )
    notes: tuple[str, ...] = (
        f"The {TOP} best of each depth among the search's finished trials. The gain on the search's seed is the "
        "largest of many and flatters the winner; the confirmed gain is on other seeds, and is the one to quote.",
        "Saved: steps and training seconds before the end of the control at which the trial had the control's final "
        "loss (straight line between evaluations); confirmed ones are means, given only where every seed got there.",
    )
    rows = tuple(_best_row(row) for _, row in top.iterrows())
    notes += tuple(_edges(run))
    return Section("Best schedules", notes, (Table(headings, rows),) if rows else ())


def _edges(run: _Run) -> Iterator[str]:
    """A sentence for each depth whose best schedule the space may have cut short."""
    for row in run.ranked[run.ranked[RANK] == 1].to_dict("records"):
        if edges := ranking.at_edge(dict(row), run.record["spec"]["space"]):
            keys = " and ".join(edges)
            yield f"{plural(row[LAYERS])}: the best has {keys} at the end of its range; a wider space may hold better."


def _best_row(row: Any) -> tuple[str, ...]:
    schedule = (str(row[LAYERS]), row[SCHEDULE], str(row[TEACHER_STEPS]), f"{row[MIN_WEIGHT]:g}")
    confirmed = f"{_signed(row[CONFIRMED])} ± {_number(row[CONFIRMED_SD], '.4f')} ({row[CONFIRMED_N]})"
    steps = f"{_number(row[STEPS_SAVED], '.0f')} / {_number(row[CONFIRMED_STEPS_SAVED], '.0f')}"
    seconds = f"{_number(row[SECONDS_SAVED], '.1f')} / {_number(row[CONFIRMED_SECONDS_SAVED], '.1f')}"
    return (*schedule, _signed(row[names.GAIN]), confirmed if row[CONFIRMED_N] else DASH, steps, seconds)


def _stopped(run: _Run) -> Section:
    ended = ranking.stopped(run.results.trials)
    searched = (run.results.trials[ROLE] == names.SEARCH).sum()
    asha = run.record["spec"]["asha"]
    lines = [
        f"{len(ended)} of {searched} search trials." if asha else "ASHA was off: every trial was to run to its end."
    ]
    if asha:
        lines += list(_judged_too_early(run, asha["grace_period"]))
    rows = tuple((row[TRIAL], str(row[names.STEP]), _signed(row[names.GAIN])) for _, row in ended.iterrows())
    return Section("Stopped by ASHA", tuple(lines), (Table(("trial", "at step", "gain then"), rows),) if rows else ())


def _judged_too_early(run: _Run, grace_period: int) -> Iterator[str]:
    trials = run.results.trials
    longest = trials.loc[trials[ROLE] == names.SEARCH, TEACHER_STEPS].max()
    if longest > grace_period:
        yield (
            f"Its first rung (step {grace_period}) is before the longest schedule ends (step {longest}): trials were "
            "judged while their teacher was still on, when guided trials are often behind."
        )


def _failed(run: _Run) -> Section:
    trials = run.results.trials
    failed = trials[trials[STATE] == names.FAILED]
    unfinished = trials.loc[trials[STATE] == names.RUNNING, TRIAL]
    lines = [f"{len(failed)} failed, {len(unfinished)} not ended."]
    if len(unfinished):
        lines.append(f"Not ended (running, or cut short): {', '.join(unfinished)}.")
    rows = tuple((row[TRIAL], str(row[names.STEP]), _clip(row[REASON])) for _, row in failed.iterrows())
    tables = (Table(("trial", "last step", "reason"), rows),) if rows else ()
    return Section("Failed and unfinished trials", tuple(lines), tables)


def _cost(run: _Run) -> Section:
    spent = ranking.cost(run.results.trials)
    rows = tuple(_cost_row(str(role), row) for role, row in spent.iterrows())
    headings = ("role", "trials", "trial-steps", "all run to the end", "share", "training s", "evaluation s")
    lines = [_wall_clock(run.record), _full_grid(run, spent["trial_steps"][names.SEARCH]), _peak_memory(run)]
    return Section("Cost", tuple(lines), (Table(headings, rows), *_step_time_table(run.results)))


def _cost_row(role: str, row: Any) -> tuple[str, ...]:
    steps, full = int(row["trial_steps"]), int(row["full_trial_steps"])
    share = f"{steps / full:.0%}" if full else DASH
    seconds = (f"{row[name]:,.1f}" for name in (names.TRAIN_SECONDS, names.EVAL_SECONDS))
    return (role, str(int(row["trials"])), f"{steps:,}", f"{full:,}", share, *seconds)


def _wall_clock(record: Mapping[str, Any]) -> str:
    if "wall_seconds" not in record:
        return "Wall clock: the run has not ended (or was cut short)."
    return f"Wall clock: {record['wall_seconds']:,.0f} s ({record['wall_seconds'] / 60:.1f} min)."


def _full_grid(run: _Run, spent: int) -> str:
    points = ranking.grid_points(run.record["spec"])
    full = points * run.settings["loop.steps"]
    return f"The full grid ({points} settings) would take {full:,} trial-steps; the search took {spent:,}."


def _peak_memory(run: _Run) -> str:
    trials = run.results.trials
    peaks = trials.groupby(trials[ROLE] == names.CONTROL)[names.PEAK_MEMORY_MIB].max()
    control, guided = (_number(peaks.get(is_control), ",.0f") for is_control in (True, False))
    return f"Peak memory of a trial: {control} MiB control, {guided} MiB guided."


def _step_time_table(results: Results) -> tuple[Table, ...]:
    headings = ("layers", "plain ms a step", "guided ms a step", "guided / plain", "least to greatest", "trials")
    rows = tuple(
        (
            str(depth),
            f"{1000 * row['plain_seconds']:.1f}",
            f"{1000 * row['guided_seconds']:.1f}",
            f"{row['ratio']:.2f}",
            f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}",
            str(int(row["trials"])),
        )
        for depth, row in ranking.step_time(results).iterrows()
    )
    return (Table(headings, rows),) if rows else ()


def _not_controlled(run: _Run) -> Section:
    lines = [
        f"Learning rate {run.settings['optimizer.lr']:g} for both arms: tuned for neither.",
        f"One corpus, one split, one tokenizer, one width; {run.settings['loop.steps']} steps. "
        "A gain early in training may fade in a longer run: nothing here says how it does.",
        "Seeds change initial weights and the order of batches, not the validation blocks: "
        "the intervals do not cover the choice of text.",
        "Trials may have shared the machine: seconds are noisier than steps.",
        *_early_controls(run),
    ]
    return Section("Not controlled", tuple(lines))


def _early_controls(run: _Run) -> Iterator[str]:
    """Controls that were at their final loss before the end make steps saved look better than they are."""
    trials = run.results.trials
    early = trials[(trials[ROLE] == names.CONTROL) & (trials[STEPS_SAVED] >= 1)]
    for _, row in early.iterrows():
        yield (
            f"{row[TRIAL]} first had its final loss {row[STEPS_SAVED]:.0f} steps before its end: "
            "steps and seconds saved against it are that much too large."
        )


def _where(run: _Run) -> Section:
    return Section(
        "Where things are",
        (
            f"Tables: {names.TRIALS_TABLE}, {names.CURVES_TABLE} (columns: results/README.md). "
            f"In Python: from analysis.results import load; trials, curves = load({str(run.folder)!r})",
            f"Pictures: {names.FIGURES_FOLDER}/{', '.join(FIGURES)}",
            f"TensorBoard: tensorboard --logdir {run.folder / names.TRIALS_FOLDER}",
            f"All of it again: python -m analysis.summary {run.folder}",
        ),
    )


# ---- how it is written -----------------------------------------------------------------------------------------------


def _read(run: Path) -> _Run:
    record, results = read_run(run), load(run)
    missing = NEEDED - record.keys()
    if missing:
        raise InputError(f"{Path(run) / names.RUN_FILE} lacks {', '.join(sorted(missing))}: restore it from a copy.")
    return _Run(Path(run), record, results, flatten(record["spec"]["base"]), ranking.best(results.trials))


def _markdown(run: _Run) -> str:
    parts = [f"# {run.record['study']}: {run.record['run']}\n", *map(_section_markdown, sections(run))]
    pictures = [f"![{name}]({names.FIGURES_FOLDER}/{name})\n" for name in FIGURES if _has_figure(run, name)]
    return "\n".join(parts + pictures)


def _has_figure(run: _Run, name: str) -> bool:
    return (run.folder / names.FIGURES_FOLDER / name).is_file()


def _section_markdown(section: Section) -> str:
    lines = "".join(f"- {line}\n" for line in section.lines)
    tables = "".join(f"\n{_table_markdown(table)}" for table in section.tables)
    return f"## {section.title}\n\n{lines}{tables}"


def _table_markdown(table: Table) -> str:
    rows = [table.headings, ("---",) * len(table.headings), *table.rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def _rich_table(table: Table) -> RichTable:
    drawn = RichTable(*map(escape, table.headings), header_style="bold", box=None, collapse_padding=True)
    for row in table.rows:
        drawn.add_row(*map(escape, row))
    return drawn


def _signed(value: Any) -> str:
    return _number(value, "+.4f")


def _number(value: Any, form: str) -> str:
    return format(value, form) if value is not None and np.isfinite(value) else DASH


def _clip(text: str, length: int = 160) -> str:
    """One line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."


def main(run: Annotated[Path, tyro.conf.Positional]) -> None:
    """Rebuild the tables, figures and summary of a run folder, and print the summary.

    Args:
        run: a run folder, such as results/schedule_search/my_run
    """
    rebuild(run)
    print_summary(run, Console())


if __name__ == "__main__":
    try:
        tyro.cli(main, description="Rebuild the tables, figures and summary of a run folder, and print the summary.")
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
