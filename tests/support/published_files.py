"""Event files of the published kind, whole or spoilt."""

import json
from collections.abc import Mapping
from pathlib import Path

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
    study: Path, name: str, losses: Mapping[int, float], *, trained: float = 4.4, layers: int = 1, ends: bool = True
) -> Path:
    """Write the event file of a run: 2 s a step, 10 s an evaluation. Returns the file."""
    folder = study / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    writer, wall = EventFileWriter(str(folder)), 1.7e9
    summary = text_pb("model_config/text_summary", json.dumps({"num_hidden_layers": layers}))
    writer.add_event(Event(wall_time=wall, step=0, summary=Summary.FromString(summary.SerializeToString())))
    for number, (step, loss) in enumerate(losses.items(), start=1):
        now = wall + 2 * step + 10 * number
        add_scalars(writer, now, step, {"train/loss": trained, "eval/loss": loss, "eval/runtime": 10.0})
    if ends:
        last = max(losses, default=0)
        add_scalars(
            writer, wall + 2 * last + 10 * len(losses), last, {"train/train_runtime": 2.0 * last + 10 * len(losses)}
        )
    writer.close()
    return next(folder.glob("*tfevents*"))


def add_scalars(writer: EventFileWriter, wall: float, step: int, values: Mapping[str, float]) -> None:
    for tag, value in values.items():
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.add_event(Event(wall_time=wall, step=step, summary=summary))


def row_of(study: Path, name: str) -> pd.Series:
    return read_study(study).trials.set_index("trial").loc[name]
