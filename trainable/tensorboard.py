"""A trial's reports as TensorBoard scalars, and its settings in the HParams tab.

Written by the trial itself beside its ledger: `tensorboard --logdir results/<study>/<run>/trials`.
"""

from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from trainable import names
from trainable.config import TrialConfig, flatten

_SCALARS = tuple(n for n in names.REPORT_COLUMNS if n not in (names.STEP, names.TIMESTAMP))


class TensorBoardLog:
    """Event file of one attempt at a trial; TensorBoard hides an earlier attempt's rows from `first_step` on."""

    def __init__(self, folder: Path, first_step: int):
        self._writer = SummaryWriter(str(folder), purge_step=first_step)

    def write(self, row: dict[str, Any]) -> None:
        """One report; missing values leave no point."""
        for name in _SCALARS:
            if row[name] is not None and row[name] == row[name]:  # not NaN
                self._writer.add_scalar(name, row[name], row[names.STEP])
        self._writer.flush()

    def close(self, config: TrialConfig, row: dict[str, Any] | None) -> None:
        """Write the settings with the final numbers, which is what the HParams tab shows."""
        if row is not None:
            settings = {k: v for k, v in flatten(config).items() if v is not None}
            final = {f"final/{name}": row[name] for name in (names.EVAL_LOSS, names.GAIN)}
            self._writer.add_hparams(settings, final, name=".", global_step=row[names.STEP])
        self._writer.close()
