"""Planned trials of a run, from run.json, and those that are missing, so that tables can show "4 of 5".

A failed trial is in the tables of a run. A trial whose folder is gone, or that never began, is only in the plan.
"""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any, Final, NamedTuple

import pandas as pd

from analysis.columns import ARM, CONTROL_NAME, EVAL_HALF, FOLD, FOLDS, LAYERS, ROLE, SEED, STATE, TRIAL
from analysis.results import Findings
from analysis.tables.confirmations import REPORTING
from analysis.wording import plural
from trainable import names
from trainable.record.run_record import RunRecord

COLUMNS: Final = [TRIAL, ROLE, ARM, CONTROL_NAME]


class Lack(NamedTuple):
    """Numbers of planned and missing trials of one kind."""

    layers: int
    role: str
    planned: int
    missing: int
    arm: str = ""  # of a search in groups


def planned_trials(record: RunRecord) -> pd.DataFrame:
    """The trials of a comparison, or the confirmations of a search in groups, with their settings by dotted key.

    A confirmation is named by arm, depth and seed, because its schedule is chosen during the run. An older search has
    no rows.
    """
    if record.is_grouped:
        return pd.DataFrame(list(_planned_confirmations(record)))
    rows = [{name: plan.get(name, "") for name in ("name", *COLUMNS[1:])} for plan in record.plans]
    settings = [names.dotted(plan["config"]) for plan in record.plans]
    table = pd.DataFrame([row | own for row, own in zip(rows, settings, strict=True)])
    return table.rename(columns={"name": TRIAL}) if len(table) else pd.DataFrame(columns=COLUMNS)


def _planned_confirmations(record: RunRecord) -> Iterator[dict[str, Any]]:
    settings = {FOLD: 0, FOLDS: None} | names.dotted(record.base) | {EVAL_HALF: REPORTING}
    for layers in record.layers:
        for number, group in enumerate(record.groups):
            role = names.CONFIRM if number else names.CONTROL
            for seed in group.seeds:
                own = {
                    TRIAL: confirmation_name(group.name, layers, seed),
                    ROLE: role,
                    ARM: group.name,
                    CONTROL_NAME: "",
                }
                yield {**own, **settings, **group.changes, LAYERS: layers, SEED: seed}


def confirmation_name(arm: str, layers: int, seed: int) -> str:
    """Name of a planned confirmation: "bigram, 2 layers, seed 1"."""
    return f"{arm}, {plural(layers)}, seed {seed}"


def lacking(plans: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """The planned trials that are not in a table of trials."""
    have = set(trials[TRIAL])
    if ARM in trials:
        known = trials[[ARM, LAYERS, SEED]].dropna().itertuples(index=False, name=None)
        have |= {confirmation_name(arm, int(layers), int(seed)) for arm, layers, seed in known}
    return plans[~plans[TRIAL].isin(have)]


def pending(trials: pd.DataFrame, plans: pd.DataFrame) -> pd.DataFrame:
    """The planned trials that have neither finished nor failed."""
    return lacking(plans, trials[trials[STATE].isin([names.FINISHED, names.FAILED])])


def missing_trials(found: Findings) -> list[str]:
    """Names of the missing trials of a comparison, without those whose control failed."""
    have, failed = set(found.results.trials[TRIAL]), _failed_controls(found)
    return [name for name, control in found.record.planned.items() if name not in have and control not in failed]


def search_lacks(found: Findings) -> list[Lack]:
    """Missing controls, search trials and confirmations of a search, by depth (and group)."""
    return [lack for lack in _plan(found) if lack.missing > 0]


def planned_by_role(found: Findings) -> dict[str, int]:
    """Number of planned trials of each role; for a search, an upper bound."""
    if found.record.is_comparison:
        roles = planned_trials(found.record)[ROLE]
        return {str(role): int(count) for role, count in roles.value_counts().items()}
    plan = list(_plan(found))
    return {role: sum(lack.planned for lack in plan if lack.role == role) for role in {lack.role for lack in plan}}


def _plan(found: Findings) -> Iterator[Lack]:
    return _grouped_plan(found) if found.record.is_grouped else _search_plan(found)


def _grouped_plan(found: Findings) -> Iterator[Lack]:
    """By depth and group: search trials (the first of the control group is the reference), then confirmations."""
    record, trials = found.record, found.results.trials
    reference = (trials[ROLE] == names.CONTROL) & (trials.get(EVAL_HALF) != REPORTING)
    searched = (trials[ROLE] == names.SEARCH) | reference
    confirmations = planned_trials(record)
    for layers, group in product(record.layers, record.groups):
        own = searched & (trials[LAYERS] == layers) & (trials[ARM] == group.name)
        wanted = min(record.num_samples, math.prod(map(len, group.space.values())))
        yield Lack(layers, names.SEARCH, wanted, wanted - int(own.sum()), group.name)
        planned = confirmations[(confirmations[LAYERS] == layers) & (confirmations[ARM] == group.name)]
        gone = lacking(planned, trials[~searched]) if (trials.loc[own, STATE] == names.FINISHED).any() else planned[:0]
        role = names.CONTROL if group.name == record.arms[0] else names.CONFIRM
        yield Lack(layers, role, len(planned), len(gone), group.name)


def _search_plan(found: Findings) -> Iterator[Lack]:
    record, trials, failed = found.record, found.results.trials, _failed_controls(found)
    seeds = (int(record.base.get("seed", 0)), *record.confirm_seeds)
    for layers in record.layers:
        here = trials[trials[LAYERS] == layers]
        controls = here[here[ROLE] == names.CONTROL]
        yield Lack(layers, names.CONTROL, len(seeds), len(set(seeds) - set(controls[SEED])))
        without = set(controls.loc[controls[TRIAL].isin(failed), SEED])  # their guided trials never begin
        searched = 0 if seeds[0] in without else record.num_samples
        yield Lack(layers, names.SEARCH, searched, searched - int((here[ROLE] == names.SEARCH).sum()))
        any_finished = ((here[ROLE] == names.SEARCH) & (here[STATE] == names.FINISHED)).any()
        confirming = set(record.confirm_seeds) - without if any_finished else set()
        confirmed = set(here.loc[here[ROLE] == names.CONFIRM, SEED])
        yield Lack(layers, names.CONFIRM, len(confirming), len(confirming - confirmed))


def _failed_controls(found: Findings) -> set[str]:
    trials = found.results.trials
    return set(trials.loc[(trials[ROLE] == names.CONTROL) & (trials[STATE] == names.FAILED), TRIAL])
