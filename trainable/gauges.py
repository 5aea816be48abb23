"""A running trial's numbers as Prometheus gauges, through Ray: `ray_eval_loss`, `ray_gain`, and so on.

Ray exports a gauge once each time it is set, and forgets it two exports (20 s) later. So the last report is set again
every second while its trial runs: a trial that evaluates every five minutes stays in sight, and one that has ended
leaves it, though the process goes on with the next trial. The ledger has every report; this is a view of now.
"""

import math
import threading
from collections.abc import Callable
from typing import Any

from trainable import names
from trainable.plan import TrialPlan
from trainable.record.ledger import Row

# What to watch while trials run; the other columns of a report, a diagnosis among them, are in TensorBoard.
# name -> what Prometheus says it is; Ray puts `ray_` before the name.
GAUGES = {
    names.STEP: "Optimizer steps done.",
    names.EVAL_LOSS: "Plain cross-entropy on the validation blocks, nats per token.",
    names.GAIN: "Eval loss of the control minus that of the trial, at the same step.",
    names.TEACHER_WEIGHT: "Weight of the bigram teacher in the next step, 0 to 1.",
    names.TOKENS_PER_SECOND: "Tokens trained on a second, since the report before.",
}
TAGS = ("study", "run", "trial", "role", "layers")  # one series a trial: the others follow from it, for grouping
_REPEAT_SECONDS = 1.0


class TrialGauges:
    """Gauges of one trial, exported from its first report until `close`.

    gauge: ray.util.metrics.Gauge, or what makes something like it.
    """

    def __init__(self, study: str, run: str, plan: TrialPlan, gauge: Callable[..., Any]):
        layers = str(plan.config.model.layers)
        self._tags = dict(zip(TAGS, (study, run, plan.name, plan.role, layers), strict=True))
        self._gauges = {name: gauge(name, description=text, tag_keys=TAGS) for name, text in GAUGES.items()}
        self._shown: dict[str, float] = {}
        self._lock = threading.Lock()  # an older report is never set after a newer one
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="gauges", daemon=True)
        self._thread.start()

    def show(self, row: Row) -> None:
        """Export the numbers of a report from now on."""
        with self._lock:
            self._shown = {name: row[name] for name in GAUGES if row[name] is not None and not math.isnan(row[name])}
            self._set()

    def close(self) -> None:
        """Stop exporting: the trial has ended in this process."""
        self._ended.set()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._ended.wait(_REPEAT_SECONDS):
            with self._lock:
                self._set()

    def _set(self) -> None:
        for name, value in self._shown.items():
            self._gauges[name].set(value, tags=self._tags)
