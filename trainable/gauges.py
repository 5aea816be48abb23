"""A running trial's numbers as Prometheus gauges, through Ray: `ray_eval_loss`, `ray_gain`, and so on.

Ray exports a gauge once after each `set`, and drops it two exports (20 s) later. So the values of the last report are
set again every second while its trial runs. A trial that evaluates only every five minutes stays visible; one that has
ended disappears, even if its process goes on with the next trial. Gauges show the present; the ledger has every report.
"""

import math
import threading
from collections.abc import Callable
from typing import Any

from trainable import names
from trainable.plan import TrialPlan
from trainable.record.ledger import Row

# The columns to watch while trials run, as {name: description in Prometheus}; Ray puts `ray_` before the name.
# TensorBoard has the other columns of a report, such as the diagnostics.
GAUGES = {
    names.STEP: "Optimizer steps done.",
    names.EVAL_LOSS: "Plain cross-entropy on the validation blocks, nats per token.",
    names.GAIN: "Eval loss of the control minus that of the trial, at the same step.",
    names.TEACHER_WEIGHT: "Weight of the bigram teacher in the next step, 0 to 1.",
    names.TOKENS_PER_SECOND: "Tokens trained on a second, since the report before.",
}
TAGS = ("study", "run", "trial", "role", "layers")  # `trial` alone identifies a series; the other tags are for grouping
_REPEAT_SECONDS = 1.0


class TrialGauges:
    """Gauges of one trial, exported from its first report until `close`.

    gauge: ray.util.metrics.Gauge, or a callable with the same arguments that returns a similar object.
    """

    def __init__(self, study: str, run: str, plan: TrialPlan, gauge: Callable[..., Any]):
        layers = str(plan.config.model.layers)
        self._tags = dict(zip(TAGS, (study, run, plan.name, plan.role, layers), strict=True))
        self._gauges = {name: gauge(name, description=text, tag_keys=TAGS) for name, text in GAUGES.items()}
        self._shown: dict[str, float] = {}
        self._lock = threading.Lock()  # so that an older report is never set after a newer one
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="gauges", daemon=True)
        self._thread.start()

    def show(self, row: Row) -> None:
        """Export the values of a report until the next one."""
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
