"""The answer in words: the verdict on each content arm, the gate, and the table that both come from."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pandas as pd

from analysis.columns import ARM, LAYERS, SECONDS_SAVED, SECONDS_TO_CONTROL, STEPS_TO_CONTROL
from analysis.results import Findings
from analysis.sections.document import Table
from analysis.tables.answer import (
    AID,
    AID_HIGH,
    BEST_RIVAL,
    CLASS,
    CONTENT_GAIN,
    CONTENT_HIGH,
    CONTENT_LOW,
    IS_LEAK,
    SECONDS_TO_RIVAL,
    STEPS_TO_RIVAL,
    word,
)
from analysis.tables.arms import FOLD_COUNT, HIGH, LOSS_SD, LOW, PLANNED, N
from analysis.tables.confirmations import CONTENT, CONTROL
from analysis.tables.gate import Gate, gate_of
from analysis.tables.making import making_of, net_seconds
from analysis.wording import DASH, number, out_of, plural, signed
from trainable import names

NO_RIVAL: Final = "Whether the content of a teacher helps is unknown: no rival ran beside it."
HEADINGS: Final = (
    *("arm", "n", "loss ± sd", "gain ± 95 %", "aid ± 95 %", "content gain ± 95 %"),
    *("steps, s to rival's loss", "steps, s to control's loss", "best setting"),
)
BRIEF: Final = (HEADINGS[0], HEADINGS[1], HEADINGS[2], HEADINGS[3], HEADINGS[5])  # what fits 80 columns
NOTES: Final = (
    "gain = control - arm; aid = control - best rival; content gain = best rival - arm: differences of validation loss "
    "in nats per token, paired within a unit (a seed or a fold). ±: half of the 95 % interval.",
    "A rival is an arm that knows nothing of which token follows which; the best rival has the lowest mean loss.",
    "Steps, s to rival's (control's) loss: optimizer steps and training seconds until the arm reached the final loss "
    "of the best rival (the control) in the same unit, on a straight line between evaluations. Mean over units, given "
    "only where every unit reached that loss. The time to make a teacher is not included; for a trained one, see Cost.",
)


def answer_line(row: Mapping[Any, Any], margin: float, where: str, pending: int) -> str:
    """The verdict on a content arm as a sentence. pending: number of planned trials of its group still to end."""
    n = f"{out_of(row[N], row[PLANNED])} {'folds' if row[FOLD_COUNT] > 1 else 'seeds'}"
    gain = f"gain {_with_interval(row, names.GAIN, LOW, HIGH)} over the control"
    if row[BEST_RIVAL]:
        gain += f", of which aid {signed(row[AID])} ({row[BEST_RIVAL]}) and content gain "
        gain += _with_interval(row, CONTENT_GAIN, CONTENT_LOW, CONTENT_HIGH)
    if pending:
        return f"{where}{row[ARM]}: no verdict before all planned units have ended; so far {gain}; {n}."
    said = "a leak probe, no verdict" if row[IS_LEAK] else word(row, margin)
    if said == "no claim":
        return f"{where}{row[ARM]}: no claim from one seed; {gain}."
    worse = " (worse than the control)" if row[HIGH] < 0 else ""
    return f"{where}{row[ARM]}: {said}{worse}; {gain}; {n}."


def gate_lines(rows: pd.DataFrame, found: Findings, where: str) -> Iterator[str]:
    """A sentence on the gate of each teacher in the content arms of a group, where the teacher's own loss is known."""
    contents = rows[(rows[CLASS] == CONTENT) & ~rows[IS_LEAK].astype(bool)]
    gates = [gate for row in contents.to_dict("records") if (gate := gate_of(row, found.record))]
    by_loss = {gate.own_loss: gate for gate in reversed(gates)}
    for gate in reversed(by_loss.values()):
        said = gate_words(gate, gate.arm if len(contents) > 1 else "its")
        yield f"{where}{said}" if where else f"{said[0].upper()}{said[1:]}"


def gate_words(gate: Gate, whose: str, who: str = "the student") -> str:
    """A sentence on whether the student passed its teacher, and on what follows if it did not."""
    teacher = {"its": "its teacher", "the bigram table": whose}.get(whose, f"the teacher of {whose}")
    own = f"{gate.own_loss:.4f}{', the loss of the Kneser-Ney estimate of its counts' if gate.is_estimate else ''}"
    if gate.passed:
        return f"{who} passed {teacher}: the control ended at {gate.control_loss:.4f}, the teacher's own loss is {own}."
    return (
        f"{who} never passed {teacher} ({own}, against {gate.control_loss:.4f}): "
        "the run is too short to say whether anything lasts."
    )


def making_lines(rows: pd.DataFrame, found: Findings) -> Iterator[str]:
    """Sentences on the cost of a trained teacher, and on the seconds that its arm saves net of that cost."""
    for row in (rows[rows[CLASS] == CONTENT] if len(rows) else rows).to_dict("records"):
        making = making_of(row, found.results, found.record)
        if making is None:
            continue
        who = f"{plural(int(row[LAYERS]))}, {row[ARM]}"
        yield (
            f"{who}: before the first trial, its teacher took {making.train:,.1f} s to train and "
            f"{making.answer:,.1f} s to answer; shared by the {making.trials} trials that it taught, "
            f"{making.shared:,.1f} s each."
        )
        if pd.notna(row[SECONDS_SAVED]):
            alone, shared = net_seconds(row, making)
            yield (
                f"{who}: {row[SECONDS_SAVED]:+,.1f} training seconds saved to the control's final loss; net of its "
                f"teacher {alone:+,.1f} s for one run, {shared:+,.1f} s with that share."
            )


def answer_table(rows: pd.DataFrame, settings: Mapping[str, str]) -> Table:
    """Table of one group with a row an arm. settings: the best setting of each arm, in words."""
    best = set(rows[BEST_RIVAL])
    cells = [_cells(row, settings.get(row[ARM], DASH), row[ARM] in best) for row in rows.to_dict("records")]
    return Table(HEADINGS, tuple(cells), BRIEF)


def _cells(row: Mapping[Any, Any], setting: str, is_best_rival: bool) -> tuple[str, ...]:
    is_control = row[CLASS] == CONTROL
    return (
        row[ARM] + (" (best rival)" if is_best_rival else ""),
        out_of(row[N], row[PLANNED]),
        f"{row[names.EVAL_LOSS]:.4f} ± {number(row[LOSS_SD], '.4f')}",
        DASH if is_control else half_interval(row[names.GAIN], row[HIGH]),
        half_interval(row[AID], row[AID_HIGH]),
        half_interval(row[CONTENT_GAIN], row[CONTENT_HIGH]),
        to_loss(row[STEPS_TO_RIVAL], row[SECONDS_TO_RIVAL]),
        DASH if is_control else to_loss(row[STEPS_TO_CONTROL], row[SECONDS_TO_CONTROL]),
        setting,
    )


def _with_interval(row: Mapping[Any, Any], mean: str, low: str, high: str) -> str:
    """ "+0.0512 (+0.0110 to +0.0914)", without the interval where there is none."""
    interval = f" ({signed(row[low])} to {signed(row[high])})" if pd.notna(row[low]) else ""
    return f"{signed(row[mean])}{interval}"


def half_interval(mean: float, high: float) -> str:
    """ "+0.0512 ± 0.0402", or the mean alone where there is no interval, or a dash."""
    return f"{signed(mean)} ± {high - mean:.4f}" if pd.notna(high) else signed(mean)


def to_loss(steps: float, seconds: float) -> str:
    """ "120, 31.5 s", or a dash where not every unit got there."""
    return DASH if pd.isna(steps) else f"{steps:,.0f}, {seconds:,.1f} s"
