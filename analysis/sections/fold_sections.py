"""Report on the folds of a study, in words and tables: a section for each arm."""

from collections.abc import Callable, Iterator
from typing import Final

import pandas as pd

from analysis.columns import (
    ARM,
    EVAL_ROWS,
    FOLD,
    LOOP_STEPS,
    SECONDS_TO_CONTROL,
    STEPS_TO_CONTROL,
    TEACHER_ROWS,
    TRAIN_ROWS,
    TRIAL,
)
from analysis.sections.document import Section, Table
from analysis.sections.run_sections import LEAK
from analysis.tables.fold_pairs import (
    CONTROL_LOSS,
    CONTROL_SE,
    CONTROL_SECONDS,
    CONTROL_STEPS,
    GUIDED_LOSS,
    GUIDED_SE,
    WHY,
)
from analysis.tables.folds import GAIN_SE, SEEDS, KfoldStatistics, deviation, kfold_statistics
from analysis.tables.statistics import TTest, Verdict, verdict
from analysis.wording import number, signed
from trainable import names

VERDICTS: Final[dict[Verdict, str]] = {
    "better": "guided is better",
    "worse": "guided is worse",
    "undecided": "undecided, because the interval contains 0",
    "no claim": "no claim from one fold",
}


def kfold_sections(rows: pd.DataFrame, outs: pd.DataFrame) -> list[Section]:
    """A section for each arm: the verdict with its notes, a table of the folds, a table of the tests."""
    said = {one.arm: one for one in kfold_statistics(rows)}
    arms = dict.fromkeys([*rows[ARM], *outs[ARM]])
    return [_section(arm, said.get(arm), rows[rows[ARM] == arm], outs[outs[ARM] == arm], len(said)) for arm in arms]


def _section(arm: str, found: KfoldStatistics | None, rows: pd.DataFrame, outs: pd.DataFrame, arms: int) -> Section:
    title = f"{arm} against no teacher, by fold"
    if found is None:
        return Section(title, ("no claim: no fold is complete.", *left_out_lines(outs)))
    lines = [_answer(found), *_notes(found, rows), *left_out_lines(outs)]
    if arms > 1 and found.folds > 1:
        lines.append(
            f"One of {arms} arms: p is not corrected for their number; expect one interval in twenty to miss by chance."
        )
    return Section(title, tuple(lines), (_fold_table(rows), _test_table(found)))


def _answer(found: KfoldStatistics) -> str:
    said = VERDICTS[verdict(found.corrected.low, found.corrected.high)]
    said = f"{said}: mean gain {signed(found.gain_mean)} nats per token"
    if found.folds < 2:
        return f"{said}."
    test = found.corrected
    interval = f"Nadeau-Bengio 95 % interval {_interval(test)}, p = {test.p:.3g}"
    return f"{said} (sd {found.gain_sd:.4f} over {found.folds} of {found.planned} folds; {interval})."


def _notes(found: KfoldStatistics, rows: pd.DataFrame) -> Iterator[str]:
    yield _units(rows[SEEDS])
    yield from _teacher(rows[TEACHER_ROWS])
    if found.folds > 1:
        yield _ratio(found, rows)
        yield (
            "Folds share training data, so p of the plain paired t is too small. Wilcoxon's p cannot go below "
            f"{found.signed_rank.least_p:.4g} at {found.signed_rank.pairs} pairs."
        )
    if found.reached < found.folds and rows[CONTROL_STEPS].notna().all():
        yield (
            f"{found.reached} of {found.folds} folds reached the control's final loss: steps and seconds to it have "
            "no mean."
        )
    if rows[LOOP_STEPS].nunique(dropna=False) > 1:
        yield f"Folds differ in {LOOP_STEPS}: {rows[LOOP_STEPS].min():g} to {rows[LOOP_STEPS].max():g}."
    yield from _errors(rows)


def _teacher(counted: pd.Series) -> Iterator[str]:
    """Warnings about rows that the teacher counted: a leak, or rows that are not recorded."""
    if any("all" in rows for rows in counted):
        yield LEAK
    if any("" in rows for rows in counted):
        yield f"Which rows the teacher counted is not recorded ({TEACHER_ROWS}): it may have seen validation rows."


def _errors(rows: pd.DataFrame) -> Iterator[str]:
    if rows[[CONTROL_SE, GUIDED_SE]].notna().any(axis=None):
        yield (
            "se of a loss: over validation blocks. Both arms share these blocks, so the se of the gain is not their "
            "sum."
        )
    if rows[GAIN_SE].notna().any():
        yield "se of a gain: over the seeds of the fold."


def _units(seeds: pd.Series) -> str:
    if seeds.max() == 1:
        return "The units are the folds, with one pair of trials each."
    count = f"{seeds.max()}" if seeds.nunique() == 1 else f"{seeds.min()} to {seeds.max()}"
    return f"The units are the folds: the {count} seeds of a fold are averaged first."


def _ratio(found: KfoldStatistics, rows: pd.DataFrame) -> str:
    said = f"n_test/n_train = {found.test_over_train:.4g}"
    if found.rows_known:
        return f"{said}: {rows[EVAL_ROWS].max():,.0f} validation and {rows[TRAIN_ROWS].min():,.0f} training rows."
    said = f"{said}: 1/(k - 1), as if all rows were used"
    if rows[TRAIN_ROWS].notna().any():
        return f"{said}, because {EVAL_ROWS} is not set; training rows were limited, so p is too small."
    if rows[EVAL_ROWS].notna().any():
        return f"{said}, because {TRAIN_ROWS} is not set; validation rows were limited, so p may be too large."
    return f"{said}."


def left_out_lines(outs: pd.DataFrame) -> Iterator[str]:
    """A line for each reason to leave out a pair, with its folds and trials."""
    for why, group in outs.groupby(WHY, sort=False):
        named = [f"fold {fold} {trial}".strip() for fold, trial in zip(group[FOLD], group[TRIAL], strict=True)]
        yield f"Left out, {why}: {', '.join(named)}."


def _fold_table(rows: pd.DataFrame) -> Table:
    """A row for each fold, then mean and standard deviation over folds; columns without a value are left out."""
    cells = {"fold": [str(fold) for fold in rows[FOLD]], "seeds": [str(seeds) for seeds in rows[SEEDS]]}
    for heading, column, write in _COLUMNS:
        if rows[column].notna().any():
            cells[heading] = [
                write(value) for value in [*rows[column], rows[column].mean(skipna=False), deviation(rows[column])]
            ]
    if len(rows) < 2:
        cells = {heading: column[:1] for heading, column in cells.items()}
    else:
        cells["fold"] += ["mean", "sd"]
        cells["seeds"] += ["", ""]
    return Table(tuple(cells), tuple(zip(*cells.values(), strict=True)))


def _loss(value: float) -> str:
    return number(value, ".4f")


def _steps(value: float) -> str:
    return number(value, ",.0f")


def _seconds(value: float) -> str:
    return number(value, ",.1f")


_COLUMNS: Final[list[tuple[str, str, Callable[[float], str]]]] = [
    ("control", CONTROL_LOSS, _loss),
    ("control se", CONTROL_SE, _loss),
    ("guided", GUIDED_LOSS, _loss),
    ("guided se", GUIDED_SE, _loss),
    ("gain", names.GAIN, signed),
    ("gain se", GAIN_SE, _loss),
    ("steps to control's loss", STEPS_TO_CONTROL, _steps),
    ("control steps", CONTROL_STEPS, _steps),
    ("seconds to control's loss", SECONDS_TO_CONTROL, _seconds),
    ("control seconds", CONTROL_SECONDS, _seconds),
]


def _test_table(found: KfoldStatistics) -> Table:
    rows = [("mean gain", f"{signed(found.gain_mean)} (sd {_loss(found.gain_sd)})", "", "")]
    if found.folds > 1:
        rank = found.signed_rank
        rows += [
            _t_row("Nadeau-Bengio corrected t", found.corrected),
            _t_row("plain paired t", found.paired),
            (
                "Wilcoxon signed rank",
                f"W = {rank.statistic:g}",
                f"{rank.p:.3g} (least possible {rank.least_p:.3g})",
                "",
            ),
        ]
    steps = (found.steps_to_control, found.control_steps, found.steps_saved, found.steps_saved_sd)
    seconds = (found.seconds_to_control, found.control_seconds, found.seconds_saved, found.seconds_saved_sd)
    rows.append(("steps to the control's final loss", _time(*map(_steps, steps)), "", ""))
    rows.append(("training seconds to that loss", _time(*map(_seconds, seconds)), "", ""))
    return Table(("over folds", "value", "p", "95 % interval"), tuple(rows))


def _time(reached: str, control: str, saved: str, sd: str) -> str:
    return f"{reached} against {control}; saved {saved} (sd {sd})"


def _t_row(name: str, test: TTest) -> tuple[str, str, str, str]:
    return (name, f"t({test.df}) = {test.statistic:.3g}", f"{test.p:.3g}", _interval(test))


def _interval(test: TTest) -> str:
    return f"{signed(test.low)} to {signed(test.high)}"
