"""The event files of one folder as one run, joined as TensorBoard joins them.

A run that was interrupted and resumed writes a second file, and repeats the steps since its last checkpoint.
TensorBoard reads the files of a folder in the order of their names, which begin with their time of creation. An event
replaces all events of its tag at the same step or later; the start of a session does so for all tags. So each step
counts once, as it was run last, and an end counts only if no event at an earlier step comes after it. Seconds leave out
the pauses between files: each file continues from the time of the file before at its first step.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.util import tensor_util

EVENT_FILES: Final = "*tfevents*"
MODEL_TAG: Final = "model_config/text_summary"
DEPTH_KEYS: Final = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")


class Point(NamedTuple):
    """One value of a tag."""

    tag: str
    step: int
    seconds: float  # of training and evaluation up to this step
    value: float


@dataclass(frozen=True)
class Events:
    """The joined events of the files of a folder."""

    rows: pd.DataFrame  # tag, step, seconds, value
    layers: int | None  # depth of the model; None if not recorded
    files: int
    problems: tuple[str, ...] = ()


@dataclass
class _File:
    """One event file: its points in the order of writing, with wall-clock times; None for the start of a session."""

    events: list[tuple[int, Point | None]] = field(default_factory=list)  # step and event
    start: float = math.inf  # wall clock, as are the seconds of the points
    layers: int | None = None
    problem: str = ""

    @property
    def points(self) -> list[Point]:
        return [point for _, point in self.events if point is not None]


def read_events(folder: Path, tags: tuple[str, ...], end_tag: str) -> Events:
    """Read the values of `tags` in the event files of a folder. Faulty files raise nothing; see `problems`.

    end_tag: tag of the event at the end of training, whose value is the seconds since the beginning of training.
    """
    paths = sorted(path for path in folder.glob(EVENT_FILES) if not path.name.startswith("."))
    files = [_read_file(path, (*tags, end_tag)) for path in paths]
    kept: dict[str, list[Point]] = {tag: [] for tag in (*tags, end_tag)}  # tag -> points by step
    for file in files:
        _join(kept, file, end_tag)
    rows = pd.DataFrame([point for points in kept.values() for point in points], columns=list(Point._fields))
    rows = rows.astype({"step": "int64", "seconds": float, "value": float})
    layers = next((file.layers for file in reversed(files) if file.layers is not None), None)
    return Events(rows, layers, len(files), tuple(_problems(files, rows)))


def _join(kept: dict[str, list[Point]], file: _File, end_tag: str) -> None:
    """Add the points of `file`, and drop the points that they replace."""
    points = file.points
    if not points:
        return
    ends = [point for point in points if point.tag == end_tag]
    start = ends[-1].seconds - ends[-1].value if ends else file.start
    first = min(point.step for point in points)
    before = (point.seconds for own in kept.values() for point in own if point.step < first)
    offset = max(before, default=0.0)
    for step, point in file.events:
        for own in kept.values() if point is None else (kept[point.tag],):
            while own and own[-1].step >= step:
                own.pop()
        while kept[end_tag] and kept[end_tag][-1].step > step:  # an event at an earlier step: training had not ended
            kept[end_tag].pop()
        if point is not None:
            kept[point.tag].append(point._replace(seconds=offset + point.seconds - start))


def _problems(files: list[_File], rows: pd.DataFrame) -> Iterator[str]:
    yield from dict.fromkeys(file.problem for file in files if file.problem)
    full = [file for file in files if file.points]
    if full and len(full) < len(files):
        yield f"{len(files) - len(full)} of {len(files)} event files hold nothing of the run"
    if len(full) > 1:
        yield f"{len(full)} event files, joined as TensorBoard joins them"
    counted = set(zip(rows["tag"], rows["step"], strict=True))
    lost = [step for file in full for tag, step, *_ in file.points if (tag, step) not in counted]
    if lost:
        which = f"{len(lost)} values of steps {min(lost)} to {max(lost)}"
        yield f"{which} do not count, for a later event of theirs is at an earlier step"


def _read_file(path: Path, tags: tuple[str, ...]) -> _File:
    """Read an event file up to its first truncated or damaged record, where TensorBoard's reader stops."""
    file = _File()
    try:
        for event in EventFileLoader(str(path)).Load():
            _take(file, event, tags)
    except Exception as error:  # the reader may raise anything on a damaged file; the run is kept, with a problem
        file.problem = f"the event file is damaged ({type(error).__name__})"
    return file


def _take(file: _File, event: Event, tags: tuple[str, ...]) -> None:
    file.start = min(file.start, event.wall_time)
    if event.HasField("session_log") and event.session_log.status == SessionLog.START:
        file.events.append((event.step, None))
    for one in event.summary.value:
        if one.tag == MODEL_TAG:
            file.layers = _depth(one.tensor)
        elif one.tag in tags:
            try:
                value = float(tensor_util.make_ndarray(one.tensor).item())
            except Exception as error:  # not one number: only this event is lost
                file.problem = f"an event of {one.tag} holds no number ({type(error).__name__} at step {event.step})"
                continue
            file.events.append((event.step, Point(one.tag, event.step, event.wall_time, value)))


def _depth(tensor: Any) -> int | None:
    """Number of layers in a model's configuration, under any of DEPTH_KEYS; None if absent."""
    try:
        config = json.loads(tensor_util.make_ndarray(tensor).item())
        found = [config[key] for key in DEPTH_KEYS if key in config]
    except Exception:  # no JSON, no object, no text: an optional fact
        return None
    return found[0] if found and isinstance(found[0], int) else None
