"""What a run was to have, from the plan in run.json, beside what it has: a table never takes what exists for all.

Trials that failed are in the tables; those whose folder is gone, or that never began, are only in the plan.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import pandas as pd

from analysis.columns import ARM, CONTROL_NAME, LAYERS, ROLE, SEED, STATE, TRIAL
from analysis.results import Findings
from trainable import names
from trainable.record.run_record import RunRecord

COLUMNS: Final = [TRIAL, ROLE, ARM, CONTROL_NAME]


class Lack(NamedTuple):
    """Planned trials of one kind that a run does not have."""

    layers: int
    role: str
    planned: int
    missing: int


def planned_trials(record: RunRecord) -> pd.DataFrame:
    """The trials of a comparison with their settings by dotted key; no rows for a search, which chooses as it goes."""
    rows = [{name: plan.get(name, "") for name in ("name", *COLUMNS[1:])} for plan in record.plans]
    settings = [names.dotted(plan["config"]) for plan in record.plans]
    table = pd.DataFrame([row | own for row, own in zip(rows, settings, strict=True)])
    return table.rename(columns={"name": TRIAL}) if len(table) else pd.DataFrame(columns=COLUMNS)


def missing_trials(found: Findings) -> list[str]:
    """Names of a comparison's planned trials that the run does not have, but for those whose control failed."""
    have, failed = set(found.results.trials[TRIAL]), _failed_controls(found)
    return [name for name, control in found.record.planned.items() if name not in have and control not in failed]


def search_lacks(found: Findings) -> list[Lack]:
    """What a search does not have of its controls, search trials and confirmations, by depth."""
    return [lack for lack in _search_plan(found) if lack.missing > 0]


def planned_by_role(found: Findings) -> dict[str, int]:
    """How many trials of each role the plan has; of a search, at most so many."""
    if found.record.is_comparison:
        roles = planned_trials(found.record)[ROLE]
        return {str(role): int(count) for role, count in roles.value_counts().items()}
    plan = list(_search_plan(found))
    return {role: sum(lack.planned for lack in plan if lack.role == role) for role in {lack.role for lack in plan}}


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
