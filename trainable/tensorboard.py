"""A trial's reports as TensorBoard scalars, and its settings in the HParams tab.

Written by the trial itself beside its ledger: `tensorboard --logdir results/<study>/<run>/trials`.
"""

import uuid
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams

from trainable import names
from trainable.config import TrialConfig, flatten

_SCALARS = tuple(n for n in names.REPORT_COLUMNS if n not in (names.STEP, names.TIMESTAMP))


class TensorBoardLog:
    """Event file of one attempt at a trial; TensorBoard hides an earlier attempt's rows from `first_step` on."""

    def __init__(self, folder: Path, first_step: int):
        unique = f".{uuid.uuid4().hex[:8]}"  # two attempts in one second must not share a file
        self._writer = SummaryWriter(str(folder), purge_step=first_step, filename_suffix=unique)

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
            # Not `add_hparams`: it opens a second file, which in the same second has the name of the first.
            for summary in hparams(settings, final):
                self._writer.file_writer.add_summary(summary)
            for name, value in final.items():
                self._writer.add_scalar(name, value, row[names.STEP])
        self._writer.close()
