"""What a resumed run does about checkpoints that it cannot go on from: it says so, and trains those trials again.

A checkpoint saves time and holds no result, so nothing is lost but the steps up to it.
"""

from collections.abc import Callable

from sweeps.engine.folder import RunFolder
from trainable import names
from trainable.config import to_dict
from trainable.errors import InputError
from trainable.plan import TrialPlan
from trainable.record.files import fingerprint
from trainable.record.ledger import Row
from trainable.student.checkpoint import load_checkpoint


def drop_unusable_checkpoints(folder: RunFolder, say: Callable[[str], None]) -> None:
    """Remove the checkpoints of unfinished trials that are damaged, or ahead of a ledger that has lost rows."""
    for plan, state, reports in folder.trials():
        if state != names.RUNNING or not folder.checkpoint(plan.name).exists():
            continue
        if (why := _why_unusable(folder, plan, reports)) is not None:
            folder.drop_checkpoint(plan.name)
            say(f"{why}: trial {plan.name} is trained again from step 0.")


def _why_unusable(folder: RunFolder, plan: TrialPlan, reports: list[Row]) -> str | None:
    path = folder.checkpoint(plan.name)
    try:
        state, _ = load_checkpoint(path, fingerprint(to_dict(plan.config)))
    except InputError as error:
        return str(error).split(": delete it")[0].rstrip(".")
    known = {row[names.STEP] for row in reports}
    lost = [step for step in range(0, state.step, plan.config.loop.eval_every) if step not in known]
    if not lost:
        return None
    return f"the ledger {path.with_name(names.LEDGER_FILE)} has lost step {lost[0]}, which checkpoint.pt is ahead of"
