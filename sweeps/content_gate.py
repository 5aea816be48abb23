#!/usr/bin/env python
"""Before the sceptic's study: does a student without a teacher end below the bigram's own validation loss?

    python sweeps/content_gate.py --corpus books.parquet
    python sweeps/content_gate.py --corpus books.parquet --steps 1408  # if not

Where a student never passes its teacher, the run is too short to say whether anything lasts. The best of these four
controls must end at least 0.1 nats below the teacher's own loss; if it does not, double the steps. Every arm of
sweeps/content.py then takes the beta2 and the steps of this best control.

What varies: learning rate (the lower two of the three in sweeps/content.py) and AdamW's beta2 (two values), on one
seed. What is fixed: the setting of sweeps/content.py.
"""

import sys
from pathlib import Path

from sweeps.engine.folder import RunFolder
from sweeps.engine.protocol import PROTOCOL_RATES, protocol_base
from sweeps.engine.specs.comparison import Comparison, grid, paired_plans
from sweeps.engine.specs.groups import CHOOSING
from sweeps.engine.study import StudyOptions, run_study, seeds_of
from trainable.config import TrialConfig
from trainable.errors import InputError, require

QUESTION = "Does a student without a teacher end below the bigram's own loss, and with which beta2?"
BETAS2 = (0.95, 0.999)
BELOW = 0.1  # nats per token that the best control has to end below the teacher's own loss


def content_gate(options: StudyOptions) -> Comparison:
    """Four controls on one seed, validated on the half of the validation text that chooses settings."""
    base = protocol_base(options, options.steps, {"corpus.eval_half": CHOOSING})
    rates = [float(f"{base.optimizer.lr * factor:.4g}") for factor in PROTOCOL_RATES[:2]]
    units = grid(base, {"optimizer.lr": rates, "optimizer.beta2": BETAS2, "seed": seeds_of(options, 1)})
    plans = paired_plans(units, lambda unit: [])
    return Comparison(study="content_gate", question=QUESTION, base=base, plans=plans)


def passed_gate(run: Path | str) -> TrialConfig:
    """Return the settings of a gate run's best control. Raises InputError unless the run is complete and it passed."""
    folder = RunFolder.open(run)
    record = folder.record()
    require(
        record.study == "content_gate" and record.complete,
        f"--gate is {folder.address}, which is no complete run of sweeps/content_gate.py: give one.",
    )
    best = folder.finished()[0]
    own = None if record.teacher is None else record.teacher.own_loss
    if own is None or best.loss > own - BELOW:
        raise InputError(
            f"the best control of {folder.address} ended at {best.loss:.4f}, not {BELOW} below the teacher's own loss "
            f"({'unknown' if own is None else f'{own:.4f}'}): such a run cannot say whether anything lasts; run "
            f"sweeps/content_gate.py with --steps {2 * best.plan.config.loop.steps}."
        )
    return best.plan.config


if __name__ == "__main__":
    sys.exit(run_study(content_gate, StudyOptions, __doc__))
