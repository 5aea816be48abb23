"""Plans of a guided trial and its control, which differ only in the arm's changes: a gain compares this pair."""

from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.engine.specs.trial_names import NO_TEACHER, keys_of_unit, trial_name
from trainable import names
from trainable.config import TrialConfig, defaults, override
from trainable.plan import TrialPlan


def control_plan(unit: TrialConfig, unit_keys: Sequence[str] | None = None) -> TrialPlan:
    """Plan of a unit's control. unit_keys: settings that its name shows (default: depth, fold, seed)."""
    config = override(unit, defaults("teacher"))
    name = trial_name(NO_TEACHER, config, keys_of_unit(config) if unit_keys is None else unit_keys)
    return TrialPlan(name=name, role=names.CONTROL, control=name, config=config, arm=NO_TEACHER)


def paired_plan(
    arm: str, unit: TrialConfig, changes: Mapping[str, Any], role: str, unit_keys: Sequence[str] | None = None
) -> TrialPlan:
    """Plan of a guided trial: the unit with the changes of an arm, paired with the unit's control."""
    keys = keys_of_unit(unit) if unit_keys is None else unit_keys
    return TrialPlan(
        name=trial_name(arm, unit, keys),
        role=role,
        control=control_plan(unit, keys).name,
        config=override(unit, changes),
        arm=arm,
    )
