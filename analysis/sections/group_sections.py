"""Sections of a search in groups: answer of each depth, best settings, stopped trials, cost, diagnostics."""

from collections.abc import Iterator
from typing import Final

import pandas as pd

from analysis.columns import ARM, LAYERS, REASON, STATE, TRIAL
from analysis.results import Findings
from analysis.sections.answer_sections import NO_RIVAL, NOTES, answer_line, answer_table, gate_lines, making_lines
from analysis.sections.arm_sections import teacher_lines
from analysis.sections.document import Section, Table
from analysis.sections.run_sections import DEMONSTRATION, leak_status, peak_memory, setting, step_time_table, wall_clock
from analysis.sections.search_sections import cost_table
from analysis.tables.answer import CLASS
from analysis.tables.arms import compare_arms
from analysis.tables.best import stopped
from analysis.tables.confirmations import CONTENT, RIVAL, confirmed
from analysis.tables.group_search import (
    DIAGNOSTICS,
    EXCESS,
    FINISHED,
    FRESH,
    FRESH_HIGH,
    FRESH_LOW,
    GROUP,
    OTHERS,
    RISE,
    STOPPED,
    at_ends,
    diagnostics,
    rises,
    searched,
    winners,
)
from analysis.tables.planned import pending, planned_trials
from analysis.wording import DASH, clip, number, plural, setting_words, signed
from trainable import names

DIAGNOSTIC_WORDS: Final = {
    names.GRAD_NORM: "gradient norm",
    names.CLIPPED_SHARE: "clipped steps",
    names.OUTPUT_ENTROPY: "output entropy (nats)",
    names.HIDDEN_COSINE: "cosine of hidden states",
    names.UNIGRAM_KL: "KL to the unigram (nats)",
}


def group_sections(found: Findings) -> list[Section]:
    """The setting, the answer, the best settings, what ASHA stopped, the cost and the diagnostics."""
    plans, confirmations = planned_trials(found.record), confirmed(found.results, found.record)
    compared = compare_arms(confirmations, found.record.arms, None, plans)
    best = winners(found.results.trials, found.record)
    risen = rises(best, confirmations.trials)
    return [
        setting(found, tuple(teacher_lines(found))),
        Section("Verdict", tuple(_verdict(found, compared, plans, risen)), subject="verdict"),
        *_arms(found, compared, best),
        _best_settings(found, best, risen),
        _stopped(found),
        _cost(found, compared),
        _diagnostics(found),
    ]


def _verdict(found: Findings, compared: pd.DataFrame, plans: pd.DataFrame, risen: pd.DataFrame) -> Iterator[str]:
    """Sentences on each content arm of each depth, the gate, lucky winners, failures, the registration, the corpus."""
    leak = leak_status(found)
    yield from leak.lines if leak.is_warning else ()
    confirmations = confirmed(found.results, found.record).trials
    due = plans.iloc[:0] if found.record.complete or plans.empty else pending(confirmations, plans)
    for depth in found.record.layers:
        where = f"{plural(depth)}: "
        rows = compared[compared[LAYERS] == depth] if len(compared) else compared
        contents = rows[rows[CLASS] == CONTENT] if len(rows) else rows
        waiting = int((due[LAYERS] == depth).sum()) if len(due) else 0
        for row in contents.to_dict("records"):
            yield answer_line(row, found.record.margin, where, waiting)
        if contents.empty:
            yield f"{where}no content arm has finished on a fresh seed together with its control: no answer yet."
        elif not (rows[CLASS] == RIVAL).any():
            yield f"{where}{NO_RIVAL[0].lower()}{NO_RIVAL[1:]}"
        if len(rows):
            yield from gate_lines(rows, found, where)
        yield from _lucky(risen[risen[LAYERS] == depth], found.record.margin, where)
        yield from _failures(confirmations[confirmations[LAYERS] == depth], plans, where)
    if found.record.registered:
        yield f"Rules and plan registered in commit {found.record.registered}, before the first confirmation trial."
    elif found.record.spec.get("registered"):
        yield (
            "Rules and plan are not registered, though the study asks for it: the code that began the run was not "
            "committed."
        )
    if found.record.corpus.demonstration:
        yield DEMONSTRATION


def _lucky(risen: pd.DataFrame, margin: float, where: str) -> Iterator[str]:
    """A sentence on each arm of a depth whose loss rises more than the others', by more than the margin."""
    for row in risen[risen[EXCESS] > margin].to_dict("records"):
        lowest, highest = f"{row[FRESH_LOW]:.4f}", f"{row[FRESH_HIGH]:.4f}"
        yield (
            f"{where}{row[ARM]} may have been lucky in the search. Its setting ended there at "
            f"{row[names.EVAL_LOSS]:.4f} and on fresh seeds at {row[FRESH]:.4f} ({lowest} to {highest}): a change of "
            f"{row[RISE]:+.4f}, where the median arm changed by {row[RISE] - row[EXCESS]:+.4f}. Another setting of "
            f"{row[ARM]} may be better, so differences from this arm are unsure."
        )


def _failures(confirmations: pd.DataFrame, plans: pd.DataFrame, where: str) -> Iterator[str]:
    """A sentence on each arm of a depth whose confirmations failed on some seeds."""
    for arm, lost in confirmations[confirmations[STATE] == names.FAILED].groupby(ARM, sort=False):
        planned = int(((plans[ARM] == arm) & (plans[LAYERS] == lost[LAYERS].iloc[0])).sum())
        why = "; ".join(f"{row[TRIAL]}: {clip(row[REASON], 80)}" for row in lost.to_dict("records"))
        yield (
            f"{where}{arm} failed on {len(lost)} of {planned} fresh seeds ({why}): its means are over the "
            "other seeds, which flatters the arm."
        )


def _arms(found: Findings, compared: pd.DataFrame, best: pd.DataFrame) -> Iterator[Section]:
    """A section for each depth: the arms on the seeds and the validation text that chose nothing."""
    depths = [] if compared.empty else [depth for depth in found.record.layers if (compared[LAYERS] == depth).any()]
    if not depths:
        yield Section("Arms", ("No winner has finished on a fresh seed yet.",))
    for i, depth in enumerate(depths):
        table = answer_table(compared[compared[LAYERS] == depth], _settings(found, depth, best))
        first = "The winner of each group, on fresh seeds and on validation rows that chose nothing."
        yield Section(f"Arms at {plural(depth)}", () if i else (first, *NOTES), (table,))


def _settings(found: Findings, depth: int, best: pd.DataFrame) -> dict[str, str]:
    """The best setting of each arm at a depth in words: of its confirmations, or of the search where none has begun."""
    spaces = {group.name: tuple(group.space) for group in found.record.groups}
    confirmations = confirmed(found.results, found.record).trials
    both = pd.concat([confirmations, best], ignore_index=True)
    here = both[(both[LAYERS] == depth) & both[ARM].isin(spaces)].drop_duplicates(ARM)
    return {row[ARM]: setting_words(row, spaces[row[ARM]]) for _, row in here.iterrows()}


def _best_settings(found: Findings, best: pd.DataFrame, risen: pd.DataFrame) -> Section:
    spaces = {group.name: group.space for group in found.record.groups}
    tried = searched(found.results.trials)
    lines = [
        "The finished trial of each group with the lowest loss, on the search's seed and the validation rows that "
        "choose. The lowest of many losses is too good by chance: the verdict does not use it.",
        "Rise: mean loss on the fresh seeds - search loss. The part that comes from the other half of the validation "
        "text is the same for all arms of a depth. An arm that rises more than the others may have been lucky in the "
        "search.",
    ]
    rise_of = risen.set_index(GROUP)[RISE].to_dict()
    rows, ends = [], dict[int, list[str]]()
    for _, row in best.iterrows():
        space = spaces.get(row[ARM], {})
        own = tried[(tried[LAYERS] == row[LAYERS]) & (tried[ARM] == row[ARM])]
        counts = (str(row[name]) for name in (FINISHED, STOPPED, OTHERS))
        words = (str(row[LAYERS]), row[ARM], setting_words(row, space), f"{row[names.EVAL_LOSS]:.4f}")
        risen_by = signed(rise_of.get((row[LAYERS], row[ARM])))
        rows.append((*words, risen_by, signed(row[names.GAIN]), *counts))
        if keys := at_ends(row, own, space):
            ends.setdefault(int(row[LAYERS]), []).append(f"{row[ARM]} ({', '.join(keys)})")
    lines += [
        f"{plural(depth)}: the best value lies at an end of the values that were tried, so a wider space may hold a "
        f"better one, for {'; '.join(arms)}."
        for depth, arms in ends.items()
    ]
    headings = ("layers", "arm", "best setting", "search loss", "rise", "gain over the reference control")
    table = Table((*headings, "finished", "stopped", "failed or not ended"), tuple(rows))
    return Section("Best settings", tuple(lines) if rows else ("No trial has finished yet.",), (table,) if rows else ())


def _stopped(found: Findings) -> Section:
    if found.record.grace_period is None:
        return Section("Stopped by ASHA", ("ASHA was off: no trial was stopped early.",))
    ended, tried = stopped(found.results.trials), searched(found.results.trials)
    lines = [
        "ASHA compares a trial with others of its group, at rungs after the end of its teacher; theirs have ended too."
    ]
    if len(ended):
        counts = ended.groupby([LAYERS, ARM], sort=False).size()
        sizes = tried.groupby([LAYERS, ARM]).size()
        lines += [f"{plural(depth)}, {arm}: {n} of {sizes[depth, arm]}." for (depth, arm), n in counts.items()]
    else:
        lines.append(f"None of {len(tried)} trials.")
    rows = tuple((row[ARM], row[TRIAL], str(row[names.STEP]), signed(row[names.GAIN])) for _, row in ended.iterrows())
    tables = (Table(("arm", "trial", "stopped at step", "gain at that step"), rows),) if rows else ()
    return Section("Stopped by ASHA", tuple(lines), tables)


def _cost(found: Findings, compared: pd.DataFrame) -> Section:
    lines = (wall_clock(found.record.wall_seconds), peak_memory(found), *making_lines(compared, found))
    return Section("Cost", lines, (cost_table(found.results.trials), *step_time_table(found.results, by_arm=True)))


def _diagnostics(found: Findings) -> Section:
    """Diagnostics in the final reports of the confirmations, arm by arm."""
    table = diagnostics(confirmed(found.results, found.record), found.record)
    known = table[table[list(DIAGNOSTICS)].notna().any(axis=1)] if len(table) else table
    if known.empty:
        return Section("Diagnostics", ("None recorded.",))
    rows = tuple(
        (str(row[LAYERS]), row[ARM], str(row["trials"]), *(_diagnostic(name, row[name]) for name in DIAGNOSTICS))
        for row in known.to_dict("records")
    )
    lines = (
        "Means over the fresh seeds at the last report. Gradient norm (before clipping) and share of clipped steps: "
        "of the steps since the report before. The others: of the student's output and hidden states on validation "
        "blocks, teacher off.",
    )
    headings = ("layers", "arm", "seeds", *(DIAGNOSTIC_WORDS[name] for name in DIAGNOSTICS))
    return Section("Diagnostics", lines, (Table(headings, rows),))


def _diagnostic(name: str, value: float) -> str:
    if name == names.CLIPPED_SHARE:
        return DASH if pd.isna(value) else f"{value:.0%}"
    return number(value, ".3f")
