"""A guided trial and its control, the same in everything but the teacher: the pair that a gain is taken from."""

from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.engine.specs.trial_names import NO_TEACHER, keys_of_unit, trial_name
from trainable import names
from trainable.config import TrialConfig, defaults, override
from trainable.plan import TrialPlan


def control_plan(unit: TrialConfig, unit_keys: Sequence[str] | None = None) -> TrialPlan:
    """The control of a unit. `unit_keys` are what its name tells (default: depth, fold, seed)."""
    config = override(unit, defaults("teacher"))
    name = trial_name(NO_TEACHER, config, keys_of_unit(config) if unit_keys is None else unit_keys)
    return TrialPlan(name=name, role=names.CONTROL, control=name, config=config, arm=NO_TEACHER)


def paired_plan(
    arm: str, unit: TrialConfig, changes: Mapping[str, Any], role: str, unit_keys: Sequence[str] | None = None
) -> TrialPlan:
    """A guided trial of an arm, which changes these dotted keys of its unit, paired with the unit's control."""
    keys = keys_of_unit(unit) if unit_keys is None else unit_keys
    return TrialPlan(
        name=trial_name(arm, unit, keys),
        role=role,
        control=control_plan(unit, keys).name,
        config=override(unit, changes),
        arm=arm,
    )
