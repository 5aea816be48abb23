"""Sections of a comparison's report: the gain of each arm, in words and as a table, and the cost."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pandas as pd

from analysis.columns import ARM, EVAL_ROWS, FOLDS, LAYERS, LOOP_STEPS, ROLE, SECONDS_SAVED, STEPS_SAVED
from analysis.results import Findings
from analysis.sections.answer_sections import (
    NO_RIVAL,
    NOTES,
    answer_line,
    gate_lines,
    gate_words,
    half_interval,
    making_lines,
    to_loss,
)
from analysis.sections.document import Section, Table
from analysis.sections.run_sections import DEMONSTRATION, peak_memory, setting, step_time_table, wall_clock
from analysis.tables import best as ranking
from analysis.tables.answer import (
    AID,
    AID_HIGH,
    BEST_RIVAL,
    CONTENT_GAIN,
    CONTENT_HIGH,
    SECONDS_TO_RIVAL,
    STEPS_TO_RIVAL,
)
from analysis.tables.arms import FOLD_COUNT, GROUP, HIGH, LOSS_SD, LOW, PLANNED, SD, N, compare_arms
from analysis.tables.gate import gate_of_controls, tables_that_report
from analysis.tables.planned import pending, planned_trials
from analysis.tables.statistics import Verdict, verdict
from analysis.wording import DASH, number, out_of, plural, saved, signed
from trainable import names

VERDICTS: Final[dict[Verdict, str]] = {
    "better": "better than the control",
    "worse": "worse than the control",
    "undecided": "undecided, because the interval contains 0",
    "no claim": "no claim from one unit",
}


def arm_sections(found: Findings) -> list[Section]:
    """The setting, the verdict, the gain of each arm, and the cost."""
    tuned = found.record.tuned
    plans = planned_trials(found.record)
    compared = compare_arms(found.results, found.record.arms, tuned, plans)
    return [
        setting(found, tuple(teacher_lines(found))),
        _verdict(found, compared, plans),
        _arms(found, compared, tuned),
        _cost(found, compared),
    ]


def teacher_lines(found: Findings) -> Iterator[str]:
    """A line for each teacher table: smoothing, counted rows, and loss on the validation rows that report."""
    for table in tables_that_report(found.record):
        if not table.checksum and table.rows == "none":
            yield f"Teacher {table.smoothing}: it has no table and therefore no loss of its own."
            continue
        loss, estimate = table.eval_loss, table.kneser_ney_loss
        own = f"{loss:.4f} nats per token" if loss is not None else "infinite (unseen pairs have probability 0)"
        own += f"; that of the Kneser-Ney estimate of its counts {estimate:.4f}" if estimate is not None else ""
        if table.making_seconds is not None:
            by_kept = ", ".join(f"k = {k}: {cut:.4f}" for k, cut in (table.truncated_losses or {}).items())
            yield (
                f"Teacher {table.smoothing}, trained on {table.rows} rows: {table.holds}; own validation loss {own}, "
                f"with only the k likeliest tokens kept, and bigrams below them, {by_kept}."
            )
            continue
        counted = f"counted on {table.rows} rows" if table.rows != "none" else "counted on nothing"
        leak = " It has counted the validation rows too: a leak probe." if table.rows == "all" else ""
        yield f"Teacher {table.smoothing}, {counted}: {table.holds}; own validation loss {own}.{leak}"


def _verdict(found: Findings, compared: pd.DataFrame, plans: pd.DataFrame) -> Section:
    guided = compared[compared[ROLE] != names.CONTROL] if len(compared) else compared
    due = 0 if found.record.complete or plans.empty else len(pending(found.results.trials, plans))
    lines = [_answer(row, compared, found.record.margin, due) for row in guided.to_dict("records")]
    lines += _absent(found, compared)
    if not lines:
        is_guided = len(found.record.arms) > 1
        lines = ["No guided arm has finished beside its control." if is_guided else "No teacher in this study."]
        if not is_guided and (gate := gate_of_controls(found.results, found.record)) is not None:
            lines.append(gate_words(gate, "the bigram table", f"The best of the controls, {gate.arm},"))
    if len(lines) > 2:
        lines.append(
            "Several arms are compared with one control: expect one in twenty intervals to miss the true gain by "
            "chance."
        )
    if len(guided) and not guided[BEST_RIVAL].any():
        lines.append(NO_RIVAL)
    for _, rows in guided.groupby(GROUP, sort=False, dropna=False) if len(guided) else ():
        lines += gate_lines(rows, found, _group(rows.iloc[0], compared))
    if found.record.corpus.demonstration:
        lines.append(DEMONSTRATION)
    return Section("Verdict", tuple(lines), subject="verdict")


def _absent(found: Findings, compared: pd.DataFrame) -> Iterator[str]:
    """A sentence on each planned arm without a unit; no sentence where no arm has a unit."""
    have = set(compared[ARM]) if len(compared) else set()
    plans = planned_trials(found.record)
    guided = plans[plans[ROLE] != names.CONTROL]
    for arm in found.record.arms if have else ():
        planned = int((guided[ARM] == arm).sum())
        if planned and arm not in have:
            yield f"{arm}: none of its {planned} planned trials has finished beside its control."


def _answer(row: Mapping[Any, Any], compared: pd.DataFrame, margin: float, pending: int) -> str:
    """The answer for one arm in one group as one sentence: its verdict on the content, where a rival ran."""
    if row[BEST_RIVAL]:
        return answer_line(row, margin, _group(row, compared), pending)
    found = verdict(row[LOW], row[HIGH])
    said = f"{_group(row, compared)}{row[ARM]}: {VERDICTS[found]}; gain {signed(row[names.GAIN])}"
    if found == "no claim":
        return f"{said}."
    interval = f"95 % interval {signed(row[LOW])} to {signed(row[HIGH])}"
    over = f"sd {row[SD]:.4f} over {out_of(row[N], row[PLANNED])} units"
    return f"{said} ({over}; {interval}); {saved(row[STEPS_SAVED], row[SECONDS_SAVED])}."


def _group(row: Mapping[Any, Any], compared: pd.DataFrame) -> str:
    """The settings in which a row's group differs from the other groups, "" where there is one group."""
    parts = {
        LAYERS: plural(int(row[LAYERS])),
        LOOP_STEPS: f"{row[LOOP_STEPS]:.0f} steps",
        EVAL_ROWS: f"{number(row[EVAL_ROWS], ',.0f')} validation rows",
    }
    shown = [text for key, text in parts.items() if compared[key].nunique(dropna=False) > 1]
    return f"{', '.join(shown)}: " if shown else ""


def _arms(found: Findings, compared: pd.DataFrame, tuned: str | None) -> Section:
    if len(compared) and (compared[ROLE] == names.CONTROL).all():
        return _settings(compared)
    headings = ("group", "arm", *([tuned] if tuned else []), "units", "validation loss ± sd", "gain ± sd")
    has_rivals = bool(len(compared) and compared[BEST_RIVAL].any())
    rows = tuple(_arm_row(row, compared, tuned, has_rivals) for row in compared.to_dict("records"))
    notes = [
        "gain: validation loss of the control - that of the arm in the same unit, mean over units. 95 % interval: "
        + (_fold_note(found, compared) if found.settings[FOLDS] else "Student's t over seeds."),
        "saved: steps and training seconds by which the arm reached the control's final loss before the control did, "
        "on a straight line between evaluations. Mean over units, given only where every unit reached that loss.",
    ]
    if len(compared) and (compared[N] < compared[PLANNED]).any():
        notes.append(
            "Where units are missing, the control has a row for each set of units, above the arms that have these "
            "units."
        )
    if tuned:
        notes.append(f"Each arm, also the control, is shown at the {tuned} with its lowest mean validation loss.")
    if has_rivals:
        notes += NOTES
    of_rivals = ("aid ± 95 %", "content gain ± 95 %", "steps, s to rival's loss") if has_rivals else ()
    groups = ("group",) if len({row[0] for row in rows}) > 1 else ()
    brief = (*groups, "arm", *([tuned] if tuned else []), "validation loss ± sd", "gain ± sd", "95 % interval")
    table = Table((*headings, "95 % interval", "steps saved", "seconds saved", *of_rivals), rows, brief)
    return Section("Arms", tuple(notes), (table,) if rows else ())


def _settings(compared: pd.DataFrame) -> Section:
    """Arms of a run in which no teacher has a result: their losses, without a gain."""
    rows = tuple(
        (
            _group(row, compared).rstrip(": ") or "all",
            row[ARM],
            out_of(row[N], row[PLANNED]),
            f"{row[names.EVAL_LOSS]:.4f}" + (f" ± {row[LOSS_SD]:.4f}" if row[N] > 1 else ""),
        )
        for row in compared.to_dict("records")
    )
    notes = ["No arm with a teacher has a result, so there is no gain. A unit is a seed or a fold."]
    if compared.duplicated(GROUP).any():
        notes.append("Each setting has a row of its own: settings are not units, and no interval is taken over them.")
    return Section("Arms", tuple(notes), (Table(("group", "arm", "units", "validation loss ± sd"), rows),))


def _fold_note(found: Findings, compared: pd.DataFrame) -> str:
    """The method of the interval, and the number of folds: several numbers where arms have different folds."""
    planned = int(found.settings[FOLDS])
    counts = [*dict.fromkeys(compared[FOLD_COUNT])] if len(compared) else [0]
    folds = " or ".join(out_of(count, planned) for count in counts)
    return f"Nadeau and Bengio's corrected t over {folds} folds; python -m analysis.kfold_table has the other tests."


def _arm_row(row: Mapping[Any, Any], compared: pd.DataFrame, tuned: str | None, has_rivals: bool) -> tuple[str, ...]:
    control = row[ROLE] == names.CONTROL
    interval = f"{signed(row[LOW])} to {signed(row[HIGH])}"
    return (
        _group(row, compared).rstrip(": ") or "all",
        row[ARM],
        *([f"{row[tuned]:g}"] if tuned else []),
        out_of(row[N], row[PLANNED]),
        f"{row[names.EVAL_LOSS]:.4f} ± {number(row[LOSS_SD], '.4f')}",
        DASH if control else f"{signed(row[names.GAIN])} ± {number(row[SD], '.4f')}",
        DASH if control or verdict(row[LOW], row[HIGH]) == "no claim" else interval,
        DASH if control else number(row[STEPS_SAVED], ".0f"),
        DASH if control else number(row[SECONDS_SAVED], ",.1f"),
        *(_of_rivals(row) if has_rivals else ()),
    )


def _of_rivals(row: Mapping[Any, Any]) -> tuple[str, ...]:
    """Cells of an arm's row about the best rival."""
    return (
        half_interval(row[AID], row[AID_HIGH]),
        half_interval(row[CONTENT_GAIN], row[CONTENT_HIGH]),
        to_loss(row[STEPS_TO_RIVAL], row[SECONDS_TO_RIVAL]),
    )


def _cost(found: Findings, compared: pd.DataFrame) -> Section:
    spent = ranking.cost(found.results.trials)
    rows = tuple(
        (
            str(role),
            str(int(row["trials"])),
            f"{int(row['trial_steps']):,}",
            f"{row[names.TRAIN_SECONDS]:,.1f}",
            f"{row[names.EVAL_SECONDS]:,.1f}",
        )
        for role, row in spent.iterrows()
    )
    table = Table(("role", "trials", "trial-steps", "training s", "evaluation s"), rows)
    lines = (wall_clock(found.record.wall_seconds), peak_memory(found), *making_lines(compared, found))
    return Section("Cost", lines, (table, *step_time_table(found.results)))
