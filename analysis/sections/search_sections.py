"""Sections of an older search's report: verdict of each depth, best schedules, stopped trials, cost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from analysis.columns import LAYERS, MIN_WEIGHT, ROLE, SCHEDULE, SECONDS_SAVED, STEPS_SAVED, TEACHER_STEPS, TRIAL
from analysis.results import Findings
from analysis.sections.answer_sections import NO_RIVAL, gate_words
from analysis.sections.document import Section, Table
from analysis.sections.run_sections import DEMONSTRATION, leak_status, peak_memory, setting, step_time_table, wall_clock
from analysis.tables import best as ranking
from analysis.tables.arm_lines import shown_trials
from analysis.tables.best import (
    CONFIRMED,
    CONFIRMED_HIGH,
    CONFIRMED_LOW,
    CONFIRMED_N,
    CONFIRMED_SD,
    CONFIRMED_SECONDS_SAVED,
    CONFIRMED_STEPS_SAVED,
    RANK,
)
from analysis.tables.gate import Gate
from analysis.tables.planned import planned_by_role
from analysis.tables.statistics import Verdict, verdict
from analysis.wording import DASH, describe, number, out_of, plural, saved, signed
from trainable import names
from trainable.record.run_record import TeacherFacts

VERDICTS: Final[dict[Verdict, str]] = {
    "better": "guided is better",
    "worse": "guided is worse, although it won the search",
    "undecided": "undecided, because the interval contains 0",
}
TOP: Final = 3  # number of schedules shown for each depth


def search_sections(found: Findings) -> list[Section]:
    """The setting, the verdict, the best schedules, what ASHA stopped, and the cost."""
    ranked = ranking.best(found.results.trials)
    teachers = (_teacher_line(found.record.teacher), *leak_status(found).lines)
    parts = [_verdict(found, ranked), _best_schedules(found, ranked), _stopped(found)]
    return [setting(found, teachers), *parts, _cost(found)]


def _verdict(found: Findings, ranked: pd.DataFrame) -> Section:
    winners: dict[int, Any] = {row[LAYERS]: row for row in ranked[ranked[RANK] == 1].to_dict("records")}
    depths = sorted({*found.record.layers, *winners})
    planned = len(found.record.confirm_seeds)
    leak = leak_status(found)
    lines = [*leak.lines] if leak.is_warning else []
    lines += [f"{plural(depth)}: {_answer(winners.get(depth), planned)}" for depth in depths]
    if winners:
        lines += [NO_RIVAL, *_gates(found, depths)]
    if found.record.corpus.demonstration:
        lines.append(DEMONSTRATION)
    return Section("Verdict", tuple(lines), subject="verdict")


def _gates(found: Findings, depths: Sequence[int]) -> Iterator[str]:
    """A sentence on the gate of each depth, where the teacher's own loss is known, with the controls of the winner."""
    own = found.record.teacher.own_loss if found.record.teacher else None
    shown = shown_trials(found.results)
    for depth in depths:
        controls = shown[(shown[LAYERS] == depth) & (shown[ROLE] == names.CONTROL)]
        if own is not None and found.record.teacher and len(controls):
            is_estimate = found.record.teacher.eval_loss is None
            gate = Gate("guided", own, is_estimate, float(controls[names.EVAL_LOSS].mean()))
            yield f"{plural(depth)}: {gate_words(gate, 'its')}"


def _answer(row: Mapping[str, Any] | None, planned: int) -> str:
    """The answer of one depth, from its best row (None: no trial has finished) and the number of planned seeds."""
    if row is None:
        return "no guided trial has finished, so there is no answer yet."
    n = row[CONFIRMED_N]
    if n == 0:
        return f"{describe(row)}: gain {signed(row[names.GAIN])} on the seed that chose it; no claim from one seed."
    if n == 1:
        return f"{describe(row)}: gain {signed(row[CONFIRMED])} on one new seed; no claim from one seed."
    seeds = f"{n} seeds" if n >= planned else f"{n} of {planned} planned seeds"
    said = VERDICTS[verdict(row[CONFIRMED_LOW], row[CONFIRMED_HIGH])]
    return (
        f"{said}. {describe(row)}: confirmed gain {signed(row[CONFIRMED])} "
        f"(sd {row[CONFIRMED_SD]:.4f} over {seeds} that did not choose it; 95 % interval "
        f"{signed(row[CONFIRMED_LOW])} to {signed(row[CONFIRMED_HIGH])}); "
        f"{saved(row[CONFIRMED_STEPS_SAVED], row[CONFIRMED_SECONDS_SAVED])}."
    )


def _best_schedules(found: Findings, ranked: pd.DataFrame) -> Section:
    top = ranked[ranked[RANK] <= TOP]
    headings = (
        *("layers", "schedule", "T", "min weight", "gain (search seed)", "gain of confirmations, mean ± sd (n)"),
        *("steps saved, search / confirmations", "seconds saved, search / confirmations"),
    )
    notes: tuple[str, ...] = (
        f"The {TOP} best of each depth among the search's finished trials. The gain on the search's seed is the "
        "largest of many and flatters the winner. Quote the gain of the confirmations, which is on other seeds.",
        "Saved: steps and training seconds by which the trial reached the control's final loss before the control "
        "did, on a straight line between evaluations. Of the confirmations: means, given only where every seed reached "
        "that loss.",
    )
    rows = tuple(_best_row(row, len(found.record.confirm_seeds)) for _, row in top.iterrows())
    notes += tuple(_edges(found, ranked))
    return Section("Best schedules", notes, (Table(headings, rows),) if rows else ())


def _edges(found: Findings, ranked: pd.DataFrame) -> Iterator[str]:
    """A sentence for each depth whose best schedule lies at an end of the space."""
    for row in ranked[ranked[RANK] == 1].to_dict("records"):
        if edges := ranking.at_edge(dict(row), found.record.space):
            keys = " and ".join(edges)
            yield (
                f"{plural(row[LAYERS])}: the best schedule has {keys} at an end of its range; a wider space may hold "
                "a better one."
            )


def _best_row(row: Any, seeds: int) -> tuple[str, ...]:
    schedule = (str(row[LAYERS]), row[SCHEDULE], str(row[TEACHER_STEPS]), f"{row[MIN_WEIGHT]:g}")
    confirmed = f"{signed(row[CONFIRMED])} ± {number(row[CONFIRMED_SD], '.4f')} ({out_of(row[CONFIRMED_N], seeds)})"
    steps = f"{number(row[STEPS_SAVED], '.0f')} / {number(row[CONFIRMED_STEPS_SAVED], '.0f')}"
    seconds = f"{number(row[SECONDS_SAVED], '.1f')} / {number(row[CONFIRMED_SECONDS_SAVED], '.1f')}"
    return (*schedule, signed(row[names.GAIN]), confirmed if row[CONFIRMED_N] else DASH, steps, seconds)


def _stopped(found: Findings) -> Section:
    ended = ranking.stopped(found.results.trials)
    searched = int((found.results.trials[ROLE] == names.SEARCH).sum())
    planned = planned_by_role(found).get(names.SEARCH, 0)
    grace = found.record.grace_period
    lines = ["ASHA was off: no trial was stopped early."]
    if grace is not None:
        lines = [
            f"{len(ended)} of {searched} search trials{f' ({planned} planned)' if searched < planned else ''}.",
            *_judged_too_early(found, grace),
        ]
    rows = tuple((row[TRIAL], str(row[names.STEP]), signed(row[names.GAIN])) for _, row in ended.iterrows())
    return Section(
        "Stopped by ASHA",
        tuple(lines),
        (Table(("trial", "stopped at step", "gain at that step"), rows),) if rows else (),
    )


def _judged_too_early(found: Findings, grace_period: int) -> Iterator[str]:
    trials = found.results.trials
    longest = trials.loc[trials[ROLE] == names.SEARCH, TEACHER_STEPS].max()
    if longest > grace_period:
        yield (
            f"ASHA's first rung (step {grace_period}) is before the longest schedule ends (step {longest}): trials "
            "were judged while their teacher was still on, when guided trials are often behind."
        )


def _cost(found: Findings) -> Section:
    spent = ranking.cost(found.results.trials)
    lines = [
        wall_clock(found.record.wall_seconds),
        _full_grid(found, spent["trial_steps"][names.SEARCH]),
        peak_memory(found),
    ]
    return Section("Cost", tuple(lines), (cost_table(found.results.trials), *step_time_table(found.results)))


def cost_table(trials: pd.DataFrame) -> Table:
    """Table of the steps and seconds of a search, by role."""
    headings = ("role", "trials", "trial-steps", "trial-steps without stops", "share", "training s", "evaluation s")
    return Table(headings, tuple(_cost_row(str(role), row) for role, row in ranking.cost(trials).iterrows()))


def _cost_row(role: str, row: Any) -> tuple[str, ...]:
    steps, full = int(row["trial_steps"]), int(row["full_trial_steps"])
    share = f"{steps / full:.0%}" if full else DASH
    seconds = (f"{row[name]:,.1f}" for name in (names.TRAIN_SECONDS, names.EVAL_SECONDS))
    return (role, str(int(row["trials"])), f"{steps:,}", f"{full:,}", share, *seconds)


def _full_grid(found: Findings, spent: int) -> str:
    points = ranking.grid_points(found.record.layers, found.record.space)
    full = points * found.settings["loop.steps"]
    return f"The full grid ({points} settings) would take {full:,} trial-steps; the search took {spent:,}."


def _teacher_line(teacher: TeacherFacts | None) -> str:
    if teacher is None:
        return "Teacher: none."
    size = f"Teacher: {teacher.holds}, smoothing {teacher.smoothing}; its own validation loss "
    if teacher.eval_loss is None:
        return size + "is not finite or not recorded (an unsmoothed table gives unseen pairs no probability)."
    return size + f"is {teacher.eval_loss:.4f} nats per token."
