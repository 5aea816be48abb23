"""Guided against plain, fold by fold: the pairs, their statistics, and both as a table for the terminal or a paper.

One split can favour an arm by luck; k folds show how far the gain moves with the data. The folds are the units: the
seeds of a fold are averaged first, for more seeds do not make more data. Data apart from drawing: `kfold_rows`,
`left_out` and `kfold_statistics` return numbers, `kfold_sections` says them, and one short function draws each format.

    python -m analysis.kfold_table results/kfold/my_run
    python -m analysis.kfold_table results/published/k_fold --format latex --arm "linear 240"
"""

import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import pandas as pd
import tyro
from rich.console import Console

from analysis.document import Section, Table, markdown, number, print_sections, signed
from analysis.results import (
    ARM,
    CONTROL_NAME,
    EVAL_ROWS,
    FOLD,
    FOLDS,
    LOOP_STEPS,
    MIN_WEIGHT,
    REASON,
    ROLE,
    SCHEDULE,
    SECONDS_SAVED,
    SECONDS_TO_CONTROL,
    SEED,
    STATE,
    STEPS_SAVED,
    STEPS_TO_CONTROL,
    TEACHER_STEPS,
    TRIAL,
    load,
)
from analysis.statistics import SignedRank, TTest, nadeau_bengio, paired_t, wilcoxon
from trainable import names
from trainable.errors import InputError

Format = Literal["terminal", "csv", "markdown", "latex"]
TRAIN_ROWS: Final = "corpus.train_rows"
TEACHER_ROWS: Final = "teacher.rows"

# Columns of `kfold_rows`; losses and their standard errors in nats per token.
SEEDS: Final = "seeds"  # pairs averaged in the fold
CONTROL_LOSS: Final = "control_loss"
CONTROL_SE: Final = "control_se"  # over validation blocks
GUIDED_LOSS: Final = "guided_loss"
GUIDED_SE: Final = "guided_se"
GAIN_SE: Final = "gain_se"  # over the seeds of the fold
CONTROL_STEPS: Final = "control_steps"  # all that the control ran
CONTROL_SECONDS: Final = "control_seconds"
_MEANS: Final = [
    *(CONTROL_LOSS, CONTROL_SE, GUIDED_LOSS, GUIDED_SE, names.GAIN),
    *(STEPS_TO_CONTROL, STEPS_SAVED, CONTROL_STEPS, SECONDS_TO_CONTROL, SECONDS_SAVED, CONTROL_SECONDS),
    *(FOLDS, TRAIN_ROWS, EVAL_ROWS, LOOP_STEPS),
]
ROW_COLUMNS: Final = [ARM, FOLD, SEEDS, *_MEANS[:5], GAIN_SE, *_MEANS[5:], TEACHER_ROWS]

WHY: Final = "why"
_TEXT: Final = [TRIAL, ROLE, ARM, CONTROL_NAME, STATE, REASON, TEACHER_ROWS]
_NUMBERS: Final = [
    *(FOLDS, FOLD, TRAIN_ROWS, EVAL_ROWS, LOOP_STEPS, SEED, names.EVAL_LOSS, names.EVAL_LOSS_SE, names.STEP),
    *(names.TRAIN_SECONDS, STEPS_TO_CONTROL, STEPS_SAVED, SECONDS_TO_CONTROL, SECONDS_SAVED),
]
_FOLLOWS_STEPS: Final = {"optimizer.warmup_steps", "loop.eval_every", "loop.checkpoint_every"}
_CONTROLS: Final = {  # what a pair takes from its control
    TRIAL: "_control",
    STATE: "_control_state",
    FOLD: "_control_fold",
    names.EVAL_LOSS: CONTROL_LOSS,
    names.EVAL_LOSS_SE: CONTROL_SE,
    names.STEP: CONTROL_STEPS,
    names.TRAIN_SECONDS: CONTROL_SECONDS,
}


@dataclass(frozen=True, kw_only=True)
class KfoldStatistics:
    """What the folds of one arm say together. Means over folds are NaN unless every fold has a value."""

    arm: str
    folds: int  # complete ones, k
    planned: int  # corpus.folds
    gain_mean: float  # nats per token
    gain_sd: float  # over folds
    test_over_train: float  # n_test / n_train of a fold
    rows_known: bool  # whether that is from row counts; 1/(planned - 1) otherwise
    corrected: TTest  # Nadeau and Bengio's
    paired: TTest
    signed_rank: SignedRank
    reached: int  # folds in which every seed came down to the control's final loss
    steps_to_control: float  # mean over folds, as are all below
    steps_saved: float
    steps_saved_sd: float
    control_steps: float
    seconds_to_control: float
    seconds_saved: float
    seconds_saved_sd: float
    control_seconds: float

    @property
    def verdict(self) -> str:
        """In words, from the corrected interval."""
        if self.folds < 2:
            return "no claim from one fold"
        if self.corrected.low > 0:
            return "guided is better"
        return "guided is worse" if self.corrected.high < 0 else "undecided, for the interval holds 0"


# ---- data ------------------------------------------------------------------------------------------------------------


def kfold_rows(trials: pd.DataFrame) -> pd.DataFrame:
    """One row an arm and fold, seeds averaged: ROW_COLUMNS. Only finished trials beside a finished control count.

    What does not count is in `left_out`. Raises InputError if nothing does.
    """
    pairs = _pairs(trials)
    kept = pairs[pairs[WHY] == ""]
    if kept.empty:
        first = pairs.iloc[0]
        raise InputError(
            f"no fold has a finished guided trial beside a finished control (trial {first[TRIAL]}: {first[WHY]}): "
            "let the run finish, or resume it."
        )
    groups = kept.groupby([ARM, FOLD], sort=False)
    rows = [{ARM: arm, FOLD: int(fold), **_fold_row(group)} for (arm, fold), group in groups]
    order = {arm: number for number, arm in enumerate(pairs[ARM].unique())}
    table = pd.DataFrame(rows, columns=ROW_COLUMNS)
    return table.sort_values([ARM, FOLD], key=lambda c: c.map(order) if c.name == ARM else c, ignore_index=True)


def left_out(trials: pd.DataFrame) -> pd.DataFrame:
    """What `kfold_rows` does not count: arm, corpus.fold, trial ("" where a fold has no trial at all), why."""
    pairs = _pairs(trials)
    problems = pairs.loc[pairs[WHY] != "", [ARM, FOLD, TRIAL, WHY]]
    missing = [
        {ARM: arm, FOLD: fold, TRIAL: "", WHY: "no trial of this arm"}
        for arm, group in pairs.groupby(ARM, sort=False)
        for fold in sorted(set(range(_planned(group))) - set(group[FOLD]))
    ]
    return pd.concat([problems, pd.DataFrame(missing, columns=problems.columns)], ignore_index=True)


def kfold_statistics(rows: pd.DataFrame) -> list[KfoldStatistics]:
    """Of each arm in the rows of `kfold_rows`, in their order."""
    return [_statistics(str(arm), group) for arm, group in rows.groupby(ARM, sort=False)]


def _fold_row(pairs: pd.DataFrame) -> dict[str, Any]:
    means: dict[str, Any] = pairs[_MEANS].mean(skipna=False).to_dict()
    error = pairs[names.GAIN].std(ddof=1) / math.sqrt(len(pairs))
    counted = ", ".join(sorted(set(map(str, pairs[TEACHER_ROWS]))))
    return means | {SEEDS: len(pairs), GAIN_SE: error, TEACHER_ROWS: counted}


def _statistics(arm: str, rows: pd.DataFrame) -> KfoldStatistics:
    gains = rows[names.GAIN].to_numpy(dtype=float)
    means = rows[_MEANS].mean(skipna=False)
    ratio = float((rows[EVAL_ROWS] / rows[TRAIN_ROWS]).max(skipna=False))
    rows_known, planned = math.isfinite(ratio), _planned(rows)
    ratio = ratio if rows_known else 1 / (planned - 1)
    return KfoldStatistics(
        arm=arm,
        folds=len(rows),
        planned=planned,
        gain_mean=float(gains.mean()),
        gain_sd=_sd(rows[names.GAIN]),
        test_over_train=ratio,
        rows_known=rows_known,
        corrected=nadeau_bengio(gains, ratio),
        paired=paired_t(gains),
        signed_rank=wilcoxon(gains),
        reached=int(rows[STEPS_TO_CONTROL].notna().sum()),
        steps_to_control=means[STEPS_TO_CONTROL],
        steps_saved=means[STEPS_SAVED],
        steps_saved_sd=_sd(rows[STEPS_SAVED]),
        control_steps=means[CONTROL_STEPS],
        seconds_to_control=means[SECONDS_TO_CONTROL],
        seconds_saved=means[SECONDS_SAVED],
        seconds_saved_sd=_sd(rows[SECONDS_SAVED]),
        control_seconds=means[CONTROL_SECONDS],
    )


def _sd(values: pd.Series) -> float:
    return float(values.std(ddof=1, skipna=False))


def _planned(rows: pd.DataFrame) -> int:
    return int(rows[FOLDS].max())


# ---- pairs -----------------------------------------------------------------------------------------------------------


def _pairs(trials: pd.DataFrame) -> pd.DataFrame:
    """Every guided trial of a fold beside its control, named by `_named`, with `why` it does not count ("" if so)."""
    trials = _of_folds(trials)
    guided = _named(trials[trials[ROLE] != names.CONTROL])
    controls = trials.loc[trials[ROLE] == names.CONTROL, list(_CONTROLS)].rename(columns=_CONTROLS)
    pairs = guided.merge(controls, left_on=CONTROL_NAME, right_on="_control", how="left")
    pairs = pairs.rename(columns={names.EVAL_LOSS: GUIDED_LOSS, names.EVAL_LOSS_SE: GUIDED_SE})
    pairs[names.GAIN] = pairs[CONTROL_LOSS] - pairs[GUIDED_LOSS]
    searched_only = bool((pairs[ROLE] == names.SEARCH).all())
    pairs[WHY] = [_why(row, searched_only) for row in pairs.to_dict("records")]
    return pairs.sort_values(FOLD, kind="stable", ignore_index=True)


def _of_folds(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials of folds, with every column that is read. Raises InputError if there are none, or none is guided."""
    absent = {name: "" for name in _TEXT if name not in trials} | {n: np.nan for n in _NUMBERS if n not in trials}
    trials = trials.assign(**absent)
    trials = trials[trials[FOLDS].notna() & trials[FOLD].notna()].astype(dict.fromkeys(_NUMBERS, "float64"))
    if trials.empty:
        raise InputError(f"these results have no folds ({FOLDS} is not set): give a run of sweeps/kfold.py.")
    if (trials[ROLE] == names.CONTROL).all():
        raise InputError("these results have no guided trial, only controls: let the run go on, or resume it.")
    return trials.astype({FOLDS: "int64", FOLD: "int64"})


def _why(pair: dict[Any, Any], searched_only: bool) -> str:
    """Why a pair does not count; "" if it does."""
    control = pair[CONTROL_NAME]
    if not isinstance(pair["_control"], str):
        return f"its control {control} is not in the results"
    if pair["_control_state"] != names.FINISHED:
        return f"its control {control} is {pair['_control_state']}"
    if pair["_control_fold"] != pair[FOLD]:
        return f"its control {control} is of fold {pair['_control_fold']:.0f}"
    if pair[STATE] != names.FINISHED:
        return f"{pair[STATE]} ({pair[REASON]})" if isinstance(pair[REASON], str) and pair[REASON] else pair[STATE]
    if not math.isfinite(pair[names.GAIN]):
        return "it or its control has no finite loss"
    if pair[names.STEP] != pair[CONTROL_STEPS]:
        return f"it ended at step {pair[names.STEP]:.0f}, its control at step {pair[CONTROL_STEPS]:.0f}"
    if pair[ROLE] == names.SEARCH and not searched_only:
        return "the search chose by it, so its gain flatters"
    return ""


def _named(guided: pd.DataFrame) -> pd.DataFrame:
    """With an arm for every trial; where settings differ within a fold, the arm says them, for they are not repeats."""
    guided = guided.assign(**{ARM: [_arm(row) for row in guided.to_dict("records")]})
    told = {arm: _varied(group) for arm, group in guided.groupby(ARM)}
    full = [", ".join([row[ARM], *_settings(row, told[row[ARM]])]) for row in guided.to_dict("records")]
    return guided.assign(**{ARM: full})


def _arm(trial: dict[Any, Any]) -> str:
    """`linear 240`, also of a trial that was not given an arm."""
    if isinstance(trial[ARM], str) and trial[ARM]:
        return trial[ARM]
    named = [str(trial.get(SCHEDULE, "guided"))]
    if TEACHER_STEPS in trial:
        named.append(f"{trial[TEACHER_STEPS]:g}")
    return " ".join([*named, *([f"floor {trial[MIN_WEIGHT]:g}"] if trial.get(MIN_WEIGHT, 0) > 0 else [])])


def _varied(arm: pd.DataFrame) -> list[str]:
    """Dotted keys in which trials of the same fold differ; not those that follow from the number of steps."""
    keys = [name for name in map(str, arm.columns) if "." in name and name != FOLD]
    varied = [key for key in keys if (arm.groupby(FOLD)[key].nunique(dropna=False) > 1).any()]
    return [key for key in varied if not (LOOP_STEPS in varied and key in _FOLLOWS_STEPS)]


def _settings(trial: dict[Any, Any], keys: list[str]) -> Iterator[str]:
    for key in keys:
        value = trial[key]
        yield f"{key} {value:g}" if isinstance(value, int | float) else f"{key} {value}"


# ---- what is said ----------------------------------------------------------------------------------------------------


def kfold_sections(rows: pd.DataFrame, outs: pd.DataFrame) -> list[Section]:
    """A section an arm: the verdict and what to know of it, the folds, the tests."""
    said = {one.arm: one for one in kfold_statistics(rows)}
    arms = dict.fromkeys([*rows[ARM], *outs[ARM]])
    return [_section(arm, said.get(arm), rows[rows[ARM] == arm], outs[outs[ARM] == arm], len(said)) for arm in arms]


def _section(arm: str, found: KfoldStatistics | None, rows: pd.DataFrame, outs: pd.DataFrame, arms: int) -> Section:
    title = f"{arm} against no teacher, by fold"
    if found is None:
        return Section(title, ("no claim: no fold is complete.", *_left_out_lines(outs)))
    lines = [_answer(found), *_notes(found, rows), *_left_out_lines(outs)]
    if arms > 1 and found.folds > 1:
        lines.append(f"One of {arms} arms: no p here is corrected for that; one interval in twenty misses by chance.")
    return Section(title, tuple(lines), (_fold_table(rows), _test_table(found)))


def _answer(found: KfoldStatistics) -> str:
    said = f"{found.verdict}: mean gain {signed(found.gain_mean)} nats per token"
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
            "Folds share training data, so the plain paired t is too sure of itself; Wilcoxon's p cannot go below "
            f"{found.signed_rank.floor:.4g} at {found.signed_rank.pairs} pairs."
        )
    if found.reached < found.folds and rows[CONTROL_STEPS].notna().all():
        yield f"The control's final loss was reached in {found.reached} of {found.folds} folds: no mean of the others."
    if rows[LOOP_STEPS].nunique(dropna=False) > 1:
        yield f"Folds differ in {LOOP_STEPS}: {rows[LOOP_STEPS].min():g} to {rows[LOOP_STEPS].max():g}."
    yield from _errors(rows)


def _teacher(counted: pd.Series) -> Iterator[str]:
    """What a leak would do is said first where there is one."""
    if counted.str.contains(r"\ball\b").any():
        yield "LEAK PROBE: the teacher has counted the validation rows too; no gain here says that a teacher helps."
    if (counted == "").any():
        yield f"Which rows the teacher counted is not recorded ({TEACHER_ROWS}): it may have seen validation rows."


def _errors(rows: pd.DataFrame) -> Iterator[str]:
    if rows[[CONTROL_SE, GUIDED_SE]].notna().any(axis=None):
        yield "se of a loss: over validation blocks, which both sides share, so they do not add up to that of the gain."
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
        return f"{said}, for {EVAL_ROWS} is not set; training rows were limited, so p is too small."
    if rows[EVAL_ROWS].notna().any():
        return f"{said}, for {TRAIN_ROWS} is not set; validation rows were limited, so p is if anything too large."
    return f"{said}."


def _left_out_lines(outs: pd.DataFrame) -> Iterator[str]:
    """One line a reason, with the folds and trials it names."""
    for why, group in outs.groupby(WHY, sort=False):
        named = [f"fold {fold} {trial}".strip() for fold, trial in zip(group[FOLD], group[TRIAL], strict=True)]
        yield f"Left out, {why}: {', '.join(named)}."


def _fold_table(rows: pd.DataFrame) -> Table:
    """A row a fold, then the mean and the deviation over folds. Columns without a value are not drawn."""
    cells = {"fold": [str(fold) for fold in rows[FOLD]], "seeds": [str(seeds) for seeds in rows[SEEDS]]}
    for heading, column, write in _COLUMNS:
        if rows[column].notna().any():
            cells[heading] = [
                write(value) for value in [*rows[column], rows[column].mean(skipna=False), _sd(rows[column])]
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
    ("steps to control", STEPS_TO_CONTROL, _steps),
    ("control steps", CONTROL_STEPS, _steps),
    ("seconds to control", SECONDS_TO_CONTROL, _seconds),
    ("control seconds", CONTROL_SECONDS, _seconds),
]


def _test_table(found: KfoldStatistics) -> Table:
    rows = [("mean gain", f"{signed(found.gain_mean)} (sd {_loss(found.gain_sd)})", "", "")]
    if found.folds > 1:
        rank = found.signed_rank
        rows += [
            _t_row("Nadeau-Bengio corrected t", found.corrected),
            _t_row("plain paired t", found.paired),
            ("Wilcoxon signed rank", f"W = {rank.statistic:g}", f"{rank.p:.3g} (floor {rank.floor:.3g})", ""),
        ]
    steps = (found.steps_to_control, found.control_steps, found.steps_saved, found.steps_saved_sd)
    seconds = (found.seconds_to_control, found.control_seconds, found.seconds_saved, found.seconds_saved_sd)
    rows.append(("steps to the control's final loss", _time(*map(_steps, steps)), "", ""))
    rows.append(("training seconds to it", _time(*map(_seconds, seconds)), "", ""))
    return Table(("over folds", "value", "p", "95 % interval"), tuple(rows))


def _time(reached: str, control: str, saved: str, sd: str) -> str:
    return f"{reached} against {control}; saved {saved} (sd {sd})"


def _t_row(name: str, test: TTest) -> tuple[str, str, str, str]:
    return (name, f"t({test.df}) = {test.statistic:.3g}", f"{test.p:.3g}", _interval(test))


def _interval(test: TTest) -> str:
    return f"{signed(test.low)} to {signed(test.high)}"


# ---- drawing ---------------------------------------------------------------------------------------------------------


def kfold_csv(rows: pd.DataFrame) -> str:
    """Tidy numbers: arm, fold (empty: over folds), quantity, value. Quantities: ROW_COLUMNS, then the statistics."""
    values = [name for name in ROW_COLUMNS if name not in (ARM, FOLD, TEACHER_ROWS)]
    folds = [(row[ARM], row[FOLD], name, row[name]) for row in rows.to_dict("records") for name in values]
    over = [(one.arm, None, name, value) for one in kfold_statistics(rows) for name, value in _flat(one)]
    table = pd.DataFrame([*folds, *over], columns=[ARM, "fold", "quantity", "value"])
    text = table.astype({"fold": "Int64", "value": "float64"}).to_csv(None, index=False, float_format="%.10g")
    return str(text)


def _flat(found: KfoldStatistics) -> Iterator[tuple[str, float]]:
    """Every number by its own name: gain_mean, corrected_p, corrected_low, ..."""
    for name, value in vars(found).items():
        if isinstance(value, TTest | SignedRank):
            yield from ((f"{name}_{part}", float(one)) for part, one in value._asdict().items())
        elif not isinstance(value, str):
            yield name, float(value)


def latex(sections: list[Section]) -> str:
    """Paragraphs and plain tabulars, no package needed."""
    return "\n".join(map(_latex_section, sections))


def _latex_section(section: Section) -> str:
    notes = "".join(f"  \\item {_latex_text(line)}\n" for line in section.lines)
    tables = "".join(f"\n{_latex_table(table)}" for table in section.tables)
    return f"\\paragraph{{{_latex_text(section.title)}}}\n\\begin{{itemize}}\n{notes}\\end{{itemize}}\n{tables}"


def _latex_table(table: Table) -> str:
    head, *body = [" & ".join(map(_latex_text, row)) + " \\\\\n" for row in (table.headings, *table.rows)]
    columns = "l" + "r" * (len(table.headings) - 1)
    return f"\\begin{{tabular}}{{{columns}}}\n\\hline\n{head}\\hline\n{''.join(body)}\\hline\n\\end{{tabular}}\n"


_LATEX: Final = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
}


def _latex_text(text: str) -> str:
    """Escaped; a minus before a number is a minus, not a hyphen."""
    escaped = re.sub(r"[&%$#_{}\\~^<>|]", lambda found: _LATEX[found.group()], text)
    return re.sub(r"(?<!\S)-(?=\d)", "$-$", escaped)


def _draw(title: str, rows: pd.DataFrame, outs: pd.DataFrame, form: Format) -> None:
    sections = kfold_sections(rows, outs)
    if form == "terminal":
        print_sections(sections, Console(width=None if sys.stdout.isatty() else 200))
    elif form == "csv":
        print(*_left_out_lines(outs), sep="\n", end="\n" if len(outs) else "", file=sys.stderr)
        print(kfold_csv(rows), end="")
    else:
        print(markdown(title, sections, ()) if form == "markdown" else latex(sections), end="")


def _only(table: pd.DataFrame, arm: str) -> pd.DataFrame:
    return table[(table[ARM] == arm) | table[ARM].str.startswith(f"{arm}, ")]


def main(
    results: Annotated[Path, tyro.conf.Positional],
    /,
    format: Format = "terminal",
    arm: str | None = None,
) -> None:
    """Guided against plain over the folds of a run, with the tests that fit.

    Args:
        results: a run folder, such as results/kfold/my_run, or a folder of kept tables
        format: what is printed; csv is tidy numbers (what was left out goes to stderr)
        arm: only this arm; all of them if not given
    """
    trials = load(results).trials
    rows, outs = kfold_rows(trials), left_out(trials)
    if arm is not None:
        known = dict.fromkeys([*rows[ARM], *outs[ARM]])
        rows, outs = _only(rows, arm), _only(outs, arm)
        if rows.empty:
            raise InputError(f"{results} has no complete fold of an arm {arm!r}: give one of {', '.join(known)}.")
    _draw(f"{results.name}: guided against plain, by fold", rows, outs, format)


if __name__ == "__main__":
    try:
        tyro.cli(main, description="Guided against plain over the folds of a run, with the tests that fit.")
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
