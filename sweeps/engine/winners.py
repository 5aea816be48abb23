"""Best settings that the search of another run has found, for arms that are confirmed here and not tuned again."""

from dataclasses import replace

from sweeps.engine.folder import RunFolder
from sweeps.engine.options import run_address
from sweeps.engine.specs.arms import SearchArm
from sweeps.engine.specs.groups import CHOOSING
from sweeps.engine.specs.space import levels
from trainable.config import TrialConfig, flatten
from trainable.errors import InputError, require

OPTION = "--settings-of"


def settled_arms(study: str, arms: tuple[SearchArm, ...], address: str) -> tuple[SearchArm, ...]:
    """Return the arms with one setting each: the best finished trial of this arm in the search of a run.

    The run may be unfinished. Raises InputError for a run of another study, or one in which an arm has no finished
    trial of its search.
    """
    best = best_of_search(study, address)
    if lacking := [arm.name for arm in arms if arm.name not in best]:
        raise InputError(f"{OPTION} is {address}, where no search trial of arm {lacking[0]!r} has finished: resume it.")
    return tuple(replace(arm, space={key: levels([flatten(best[arm.name])[key]]) for key in arm.space}) for arm in arms)


def best_of_search(study: str, address: str) -> dict[str, TrialConfig]:
    """Return {arm: setting} of the finished search trials with the lowest loss."""
    folder = RunFolder.open(run_address(OPTION, address))
    found = folder.record().study
    require(found == study, f"{OPTION} is {folder.address}, a run of {found}: give a run of {study}.")
    best: dict[str, TrialConfig] = {}
    for one in folder.finished():  # lowest loss first
        if one.plan.config.corpus.eval_half == CHOOSING:
            best.setdefault(one.plan.arm, one.plan.config)
    return best
