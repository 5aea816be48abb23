"""Event files of the published kind, whole or spoilt."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from analysis.published.studies import read_study

CONTROL = "01_01_10-00-00_no_bigram_1"
GUIDED = "01_01_11-00-00_60_0.0_1_l"
LOSSES = {30: 6.8, 60: 5.7, 90: 5.2}


def add_run(
    study: Path,
    name: str,
    losses: Mapping[int, float],
    *,
    trained: float | Mapping[int, float] = 4.4,
    layers: int = 1,
    ends: bool = True,
    wall: float = 1.7e9,
    begins: int = 0,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write the event file of a run from step `begins` on: 2 s a step, 10 s an evaluation. Returns the file.

    `wall` is the time of the beginning, which names the file; `config` replaces a model_config with `layers`.
    """
    folder = study / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    known, writer = set(folder.iterdir()), EventFileWriter(str(folder))
    told = json.dumps({"num_hidden_layers": layers} if config is None else config)
    summary = text_pb("model_config/text_summary", told)
    writer.add_event(Event(wall_time=wall, step=0, summary=Summary.FromString(summary.SerializeToString())))
    for number, (step, loss) in enumerate(losses.items(), start=1):
        now = wall + 2 * (step - begins) + 10 * number
        own = trained if isinstance(trained, float) else trained[step]
        add_scalars(writer, now, step, {"train/loss": own, "eval/loss": loss, "eval/runtime": 10.0})
    if ends:
        last = max(losses, default=0)
        spent = 2.0 * (last - begins) + 10 * len(losses)
        add_scalars(writer, wall + spent, last, {"train/train_runtime": spent})
    writer.close()
    (file,) = set(folder.iterdir()) - known
    return file.rename(file.with_name(f"events.out.tfevents.{wall:.0f}.host{file.name.rpartition('.')[2]}"))


def add_scalars(writer: EventFileWriter, wall: float, step: int, values: Mapping[str, float]) -> None:
    for tag, value in values.items():
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.add_event(Event(wall_time=wall, step=step, summary=summary))


def row_of(study: Path, name: str) -> pd.Series:
    return read_study(study).trials.set_index("trial").loc[name]
