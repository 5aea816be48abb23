"""A trial's reports as TensorBoard scalars, and its settings in the HParams tab.

The trial writes them beside its ledger; `tensorboard --logdir results/<study>/<run>/trials` shows them.
Events are written at once, without the queue and thread of tensorboardX's SummaryWriter: on a full disk that thread
dies silently, and the trial then waits for ever at the tenth event.
"""

import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import hparams, scalar

from trainable import names

_SCALARS = tuple(n for n in names.REPORT_COLUMNS if n not in (names.STEP, names.TIMESTAMP))


class TensorBoardLog:
    """Event file of one attempt at a trial; TensorBoard hides an earlier attempt's rows from `first_step` on.

    settings: the trial's settings by dotted key. All methods raise OSError if the disk is full.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], first_step: int):
        unique = f".{uuid.uuid4().hex[:8]}"  # two attempts in one second must not share a file
        self._writer = EventsWriter(str(folder / "events"), unique)
        self._write(first_step, session_log=SessionLog(status=SessionLog.START))
        # Without a list of columns, TensorBoard first shows the settings that differ between trials.
        _columns, start, self._end = hparams({k: v for k, v in settings.items() if v is not None}, {})
        self._write(0, summary=start)

    def write(self, row: dict[str, Any]) -> None:
        """Write a report; a missing value makes no point in its plot."""
        for name in _SCALARS:
            if row[name] is not None and row[name] == row[name]:  # not NaN
                self._write(row[names.STEP], summary=scalar(name, row[name]))
        self._writer.flush()

    def close(self) -> None:
        """Write the end of the attempt and close the file."""
        self._write(0, summary=self._end)
        self._writer.close()

    def _write(self, step: int, **content: Any) -> None:
        self._writer.write_event(Event(wall_time=time.time(), step=step, **content))
