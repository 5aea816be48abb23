"""What a search says of the schedule: the best of each depth, what each parameter does, gain over T and floor.

    python -m analysis.schedule_report results/schedule_search/my_run [--format markdown|csv] [--out FOLDER]

The search picks the largest of many gains and looks where gains are large, so means by value are no experiment: values
were tried unequally often and beside different others. Hence every mean comes with its number of trials and spread,
and importance is not given at all from too few trials. Gains of trials that ASHA stopped are early ones: they are
marked, and are in no mean. Data apart from drawing: `marginals`, `importances`, `gain_cells` make tables.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import pandas as pd
import tyro
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from rich.console import Console

from analysis.best import CONFIRMED, CONFIRMED_N, CONFIRMED_SD, RANK, best, verdict
from analysis.document import DASH, Section, Table, markdown, number, print_sections, signed
from analysis.figures import AXIS_COLOUR, GRID_COLOUR, TEXT_COLOUR, plural, save
from analysis.results import LAYERS, MIN_WEIGHT, ROLE, SCHEDULE, STATE, TEACHER_STEPS, TRIAL, load, read_run
from trainable import names
from trainable.errors import InputError

Format = Literal["terminal", "markdown", "csv"]
Space = Mapping[str, Sequence[Any]]  # the values of each dotted key that the search chose from

FIGURE: Final = "gain_heatmap.png"
PARAMETER: Final = "parameter"
VALUE: Final = "value"
TRIALS: Final = "trials"  # how many finished ones
STOPPED: Final = "stopped"
SD, LOWEST, HIGHEST = "sd", "lowest", "highest"
IMPORTANCE: Final = "importance"
TABLE: Final = "table"  # of a row of the CSV
ENOUGH: Final = 10  # finished trials of a depth, below which no importance is given
BETTER_SHARE: Final = 0.5  # PED-ANOVA: importance for being in the better half of the trials
# Vermilion and blue of Okabe and Ito: worse and better than the control, white where there is no difference.
GAINS: Final[Colormap] = LinearSegmentedColormap.from_list("gains", ["#D55E00", "#FFFFFF", "#0072B2"])
SMALL: Final = 0.1  # nats per token: where the scale ends below, cells have three decimals
MARGIN: Final = 1.25  # of the colour scale, so that a number on the deepest colour can still be read


# ---- data ------------------------------------------------------------------------------------------------------------


def searched(trials: pd.DataFrame) -> pd.DataFrame:
    """The search's trials with a finite gain that finished or were stopped."""
    ended = trials[STATE].isin([names.FINISHED, names.STOPPED]) & np.isfinite(trials[names.GAIN])
    found: pd.DataFrame = trials[ended & (trials[ROLE] == names.SEARCH)].reset_index(drop=True)
    return found


def marginals(trials: pd.DataFrame, space: Space) -> pd.DataFrame:
    """One row a depth, parameter and value: the mean gain of the finished trials that had it.

    Columns: model.layers, parameter, value, trials (finished), gain (mean), sd, lowest, highest (over those; nats per
    token), stopped (trials of that value that ASHA stopped: in no mean). Values without a trial have trials 0.
    """
    found = searched(trials)
    rows = [_marginal(here, depth, key, value) for depth, here, key, value in _values(found, space)]
    columns = [LAYERS, PARAMETER, VALUE, TRIALS, names.GAIN, SD, LOWEST, HIGHEST, STOPPED]
    return pd.DataFrame(rows, columns=columns)


def _values(found: pd.DataFrame, space: Space) -> Iterator[tuple[int, pd.DataFrame, str, Any]]:
    for depth, here in found.groupby(LAYERS):
        for key, values in space.items():
            yield from ((int(depth), here, key, value) for value in values)


def _marginal(here: pd.DataFrame, depth: int, key: str, value: Any) -> dict[str, Any]:
    same = here[_equals(here[key], value)]
    gains = same.loc[same[STATE] == names.FINISHED, names.GAIN]
    spread = {SD: gains.std(ddof=1), LOWEST: gains.min(), HIGHEST: gains.max()}
    count = {TRIALS: len(gains), STOPPED: len(same) - len(gains)}
    return {LAYERS: depth, PARAMETER: key, VALUE: value, names.GAIN: gains.mean(), **count, **spread}


def _equals(column: pd.Series, value: Any) -> pd.Series:
    """Where a column has a value of the space; decimals may differ in their last digit."""
    if isinstance(value, str):
        return column == value
    return pd.Series(np.isclose(column.astype(float), value), column.index)


def importances(trials: pd.DataFrame, space: Space) -> pd.DataFrame:
    """Optuna's PED-ANOVA importance of each parameter, a depth at a time, from its finished trials.

    How much the parameter tells whether a trial is in the better half, as shares that add up to 1. NaN where fewer
    than 10 trials have finished. Columns: model.layers, parameter, importance, trials. It draws no random numbers.
    """
    found = searched(trials)
    rows = []
    for depth, here in found[found[STATE] == names.FINISHED].groupby(LAYERS):
        shares = _ped_anova(here, space) if len(here) >= ENOUGH else {}
        for key in space:
            rows.append({LAYERS: int(depth), PARAMETER: key, IMPORTANCE: shares.get(key, np.nan), TRIALS: len(here)})
    return pd.DataFrame(rows, columns=[LAYERS, PARAMETER, IMPORTANCE, TRIALS])


def _ped_anova(finished: pd.DataFrame, space: Space) -> dict[str, float]:
    """Of parameters that took more than one value; the others tell nothing: 0."""
    import optuna  # here, for it is heavy and no other analysis needs it

    varied = {key: values for key, values in space.items() if finished[key].nunique() > 1}
    distributions = {key: _distribution(finished[key], values) for key, values in varied.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for _, row in finished.iterrows():
        params = {key: row[key] for key in varied}
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=row[names.GAIN]))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BETTER_SHARE)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return dict.fromkeys(space, 0.0) | dict(shares)


def _distribution(column: pd.Series, values: Sequence[Any]) -> Any:
    """Numbers in their order, words without one."""
    import optuna

    if isinstance(values[0], str):
        return optuna.distributions.CategoricalDistribution(list(values))
    low, high = min(*values, column.min()), max(*values, column.max())
    whole = all(float(value).is_integer() for value in (*values, *column))
    return (optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution)(low, high)


def gain_cells(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a depth, type, T and floor that was tried.

    Columns: model.layers, teacher.schedule, teacher.steps, teacher.min_weight, gain (mean of the finished trials; where
    none finished, of the stopped ones at the step where each was stopped), trials (finished), stopped.
    """
    found = searched(trials)
    keys = [LAYERS, SCHEDULE, TEACHER_STEPS, MIN_WEIGHT]
    rows = [dict(zip(keys, key, strict=True)) | _cell(cell) for key, cell in found.groupby(keys)]
    return pd.DataFrame(rows, columns=[*keys, names.GAIN, TRIALS, STOPPED])


def _cell(cell: pd.DataFrame) -> dict[str, Any]:
    finished = cell[cell[STATE] == names.FINISHED]
    gain = (finished if len(finished) else cell)[names.GAIN].mean()
    return {names.GAIN: gain, TRIALS: len(finished), STOPPED: len(cell) - len(finished)}


def read_space(run: Path) -> Space:
    """The values a search chose from. Raises InputError for a folder that is no run, or no search."""
    space = read_run(run)["spec"].get("space")
    if not isinstance(space, dict) or not space:
        raise InputError(
            f"{run} is not a search, for its {names.RUN_FILE} has no space: give a run of schedule_search."
        )
    return space


# ---- what is said ----------------------------------------------------------------------------------------------------


def sections(trials: pd.DataFrame, space: Space) -> list[Section]:
    """The report, section by section."""
    return [
        _best(trials),
        _marginals(marginals(trials, space)),
        _importances(importances(trials, space)),
        _gains(gain_cells(trials), space),
    ]


def _best(trials: pd.DataFrame) -> Section:
    headings = ("layers", "schedule", "T", "floor", "gain (search seed)", "confirmed gain, mean ± sd (n)", "verdict")
    rows = tuple(_best_row(row) for _, row in best(trials, top=1).iterrows())
    notes = (
        "Gains in nats per token. The gain on the search's seed is the largest of many and flatters; the confirmed one "
        "is on seeds that did not choose the schedule, and the verdict rests on its 95 % interval.",
    )
    if not rows:
        return Section("Best schedule of each depth", ("No search trial has finished yet.",))
    return Section("Best schedule of each depth", notes, (Table(headings, rows),))


def _best_row(row: Any) -> tuple[str, ...]:
    confirmed = f"{signed(row[CONFIRMED])} ± {number(row[CONFIRMED_SD], '.4f')} ({row[CONFIRMED_N]})"
    schedule = (str(row[LAYERS]), row[SCHEDULE], str(row[TEACHER_STEPS]), f"{row[MIN_WEIGHT]:g}")
    return (*schedule, signed(row[names.GAIN]), confirmed if row[CONFIRMED_N] else DASH, verdict(row))


def _marginals(table: pd.DataFrame) -> Section:
    headings = ("layers", "parameter", "value", "mean gain", "sd", "lowest", "highest", "finished", "stopped")
    rows = tuple(_marginal_row(row) for row in table[table[TRIALS] + table[STOPPED] > 0].to_dict("records"))
    notes = (
        "Mean gain of the finished trials that had the value, whatever their other parameters were. The search tried "
        "values unequally often and beside different others: a difference within the spread says nothing.",
    )
    return Section("Effect of each parameter", notes if rows else ("Nothing yet.",), _tables(headings, rows))


def _marginal_row(row: Mapping[Any, Any]) -> tuple[str, ...]:
    ends = (signed(row[LOWEST]), signed(row[HIGHEST])) if row[TRIALS] > 1 else (DASH, DASH)
    gains = (signed(row[names.GAIN]), number(row[SD], ".4f"), *ends)
    return (str(row[LAYERS]), _called(row[PARAMETER]), _word(row[VALUE]), *gains, str(row[TRIALS]), str(row[STOPPED]))


def _importances(table: pd.DataFrame) -> Section:
    given = table.dropna().sort_values([LAYERS, IMPORTANCE], ascending=[True, False])
    headings = ("layers", "parameter", "importance", "finished trials")
    rows = tuple(
        (str(row[LAYERS]), _called(row[PARAMETER]), f"{row[IMPORTANCE]:.0%}", str(row[TRIALS]))
        for row in given.to_dict("records")
    )
    lines = tuple(_too_few(table))
    if rows:
        method = "PED-ANOVA (Optuna): how much each parameter tells whether a finished trial is in the better half. "
        lines = (method + "Trials that ASHA stopped, most of them poor, are not in it.", *lines)
    return Section("Importance", lines or ("No search trial has finished yet.",), _tables(headings, rows))


def _too_few(table: pd.DataFrame) -> Iterator[str]:
    few = table[table[IMPORTANCE].isna()].drop_duplicates(LAYERS)
    for row in few.to_dict("records"):
        yield f"{plural(row[LAYERS])}: {row[TRIALS]} finished trials are too few (at least {ENOUGH} are needed)."


def _gains(cells: pd.DataFrame, space: Space) -> Section:
    if cells.empty:
        return Section("Gain over T and floor", ("Nothing yet.",))
    floors = _axis(cells, space, MIN_WEIGHT)
    headings = ("layers", "schedule", "T", *(f"{floor:g}" for floor in floors))
    rows = tuple(_gain_row(key, row, floors) for key, row in cells.groupby([LAYERS, SCHEDULE, TEACHER_STEPS]))
    return Section(
        "Gain over T and floor",
        ("A column a floor. In brackets: stopped by ASHA, the gain at that step. Empty: not tried.",),
        _tables(headings, rows),
    )


def _gain_row(key: tuple[Any, ...], row: pd.DataFrame, floors: Sequence[float]) -> tuple[str, ...]:
    found = [row[_equals(row[MIN_WEIGHT], floor)] for floor in floors]
    return (*map(str, key), *("" if cell.empty else _gain_text(cell.iloc[0], "+.3f") for cell in found))


def _gain_text(cell: Any, form: str) -> str:
    text = format(cell[names.GAIN], form)
    return text if cell[TRIALS] else f"({text})"


def _tables(headings: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> tuple[Table, ...]:
    return (Table(headings, rows),) if rows else ()


def _called(key: str) -> str:
    """As the tables call a parameter."""
    return {SCHEDULE: "schedule", TEACHER_STEPS: "T", MIN_WEIGHT: "floor"}.get(key, key)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _axis(cells: pd.DataFrame, space: Space, key: str) -> list[float]:
    """The values of the space along an axis, and any that were tried beside them."""
    extra = [value for value in cells[key].unique() if not np.isclose(value, list(space.get(key, ()))).any()]
    return sorted({float(value) for value in (*space.get(key, ()), *extra)})


def as_csv(trials: pd.DataFrame, space: Space) -> str:
    """All tables below each other; the column `table` says which, and columns that one does not have are empty."""
    ranked = best(trials, top=1)[[LAYERS, RANK, TRIAL, SCHEDULE, TEACHER_STEPS, MIN_WEIGHT, names.GAIN, *_CONFIRMED]]
    tables = {"best": ranked, "effect": marginals(trials, space), IMPORTANCE: importances(trials, space)}
    tables["gain"] = gain_cells(trials)
    whole = [table.assign(**{TABLE: name}) for name, table in tables.items() if len(table)]
    columns = list(dict.fromkeys([TABLE, *(name for table in tables.values() for name in table.columns)]))
    joined = pd.concat(whole or [pd.DataFrame()]).reindex(columns=columns)
    text: str = joined.astype(dict.fromkeys(_WHOLE, "Int64")).to_csv(index=False, lineterminator="\n")
    return text


_CONFIRMED: Final = [CONFIRMED, CONFIRMED_SD, CONFIRMED_N]
_WHOLE: Final = [LAYERS, RANK, TEACHER_STEPS, CONFIRMED_N, TRIALS, STOPPED]


# ---- drawing ---------------------------------------------------------------------------------------------------------


def draw(cells: pd.DataFrame, space: Space) -> Figure:
    """Gain over T and floor: a row of panels a depth, a column a type; all have one colour scale around 0."""
    if cells.empty:
        return _nothing()
    depths, types = sorted(set(cells[LAYERS])), _types(cells, space)
    steps, floors = _axis(cells, space, TEACHER_STEPS), _axis(cells, space, MIN_WEIGHT)
    size = (max(0.52 * len(steps), 1.6) * len(types) + 1.9, max(0.3 * len(floors) + 0.5, 1.3) * len(depths) + 1.0)
    figure = Figure(figsize=(max(size[0], 5.0), size[1]), layout="constrained")
    grid = figure.subplots(len(depths), len(types), squeeze=False, sharex=True, sharey=True)
    widest = MARGIN * max(float(cells[names.GAIN].abs().max()), 1e-3)
    norm = Normalize(-widest, widest)
    for row, depth in enumerate(depths):
        here = cells[cells[LAYERS] == depth]
        for column, kind in enumerate(types):
            axes: Axes = grid[row, column]
            _draw_panel(axes, here[here[SCHEDULE] == kind], steps, floors, norm, _winner(here))
            axes.set_title(f"{plural(depth)}, {kind}", fontsize=9, loc="left", color=TEXT_COLOUR)
            axes.set_xlabel("T (steps)" if row == len(depths) - 1 else "", fontsize=9, color=TEXT_COLOUR)
            axes.set_ylabel("floor" if column == 0 else "", fontsize=9, color=TEXT_COLOUR)
    _colour_bar(figure, grid, norm)
    _explain(figure, cells)
    return figure


def _types(cells: pd.DataFrame, space: Space) -> list[str]:
    tried = list(dict.fromkeys(cells[SCHEDULE]))
    return [*space.get(SCHEDULE, ()), *(kind for kind in tried if kind not in space.get(SCHEDULE, ()))]


def _winner(here: pd.DataFrame) -> Any:
    """The row label of the best finished cell of a depth; None if none finished."""
    finished = here[here[TRIALS] > 0]
    return finished[names.GAIN].idxmax() if len(finished) else None


def _draw_panel(
    axes: Axes, cells: pd.DataFrame, steps: Sequence[float], floors: Sequence[float], norm: Normalize, winner: Any
) -> None:
    axes.set(xlim=(-0.5, len(steps) - 0.5), ylim=(-0.5, len(floors) - 0.5))
    axes.set_xticks(range(len(steps)), [f"{value:g}" for value in steps])
    axes.set_yticks(range(len(floors)), [f"{value:g}" for value in floors])
    axes.tick_params(labelsize=8, length=0, labelcolor=TEXT_COLOUR)
    axes.spines[:].set_color(AXIS_COLOUR)
    axes.set_xticks(np.arange(0.5, len(steps) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(floors) - 1), minor=True)
    axes.grid(which="minor", color=GRID_COLOUR, linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    form = "+.2f" if (norm.vmax or 0) >= SMALL else "+.3f"
    for label, cell in cells.sort_index().iterrows():
        at = (_place(steps, cell[TEACHER_STEPS]), _place(floors, cell[MIN_WEIGHT]))
        _draw_cell(axes, cell, at, GAINS(norm(cell[names.GAIN])), label == winner, form)


def _place(values: Sequence[float], value: float) -> int:
    return int(np.argmin(np.abs(np.array(values) - value)))


def _draw_cell(axes: Axes, cell: Any, at: tuple[int, int], colour: Any, is_best: bool, form: str) -> None:
    edge, width, order = (TEXT_COLOUR, 1.8, 3) if is_best else ("white", 0.8, 2)
    hatch = None if cell[TRIALS] else "////"
    corner = (at[0] - 0.5, at[1] - 0.5)
    axes.add_patch(
        Rectangle(corner, 1, 1, facecolor=colour, edgecolor=edge, linewidth=width, zorder=order, clip_on=False)
    )
    if hatch:
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, hatch=hatch, edgecolor="#BBBBBB", linewidth=0, zorder=2))
    text = _gain_text(cell, form).replace("+0.", "+.").replace("-0.", "-.")
    axes.text(*at, text, ha="center", va="center", fontsize=7, color="black", zorder=4)


def _colour_bar(figure: Figure, grid: Any, norm: Normalize) -> None:
    bar = figure.colorbar(ScalarMappable(norm, GAINS), ax=list(grid.ravel()), pad=0.02, aspect=25)
    bar.set_label("gain (nats per token)", fontsize=9, color=TEXT_COLOUR)
    bar.ax.tick_params(labelsize=8, color=AXIS_COLOUR, labelcolor=TEXT_COLOUR)
    bar.outline.set_visible(False)  # type: ignore[operator]


def _explain(figure: Figure, cells: pd.DataFrame) -> None:
    handles: list[Patch | Line2D] = []
    if (cells[TRIALS] > 0).any():
        handles.append(Patch(facecolor="white", edgecolor=TEXT_COLOUR, linewidth=1.8, label="best of its depth"))
    if (cells[TRIALS] == 0).any():
        stopped = "(gain): stopped by ASHA, gain then"
        handles.append(Patch(facecolor="white", edgecolor="#BBBBBB", hatch="////", label=stopped))
    look: dict[str, Any] = {"frameon": False, "fontsize": 8, "labelcolor": TEXT_COLOUR}
    figure.legend(handles=handles, loc="outside lower center", ncols=2, **look)


def _nothing() -> Figure:
    figure = Figure(figsize=(5, 2.5))
    FigureCanvasAgg(figure)
    figure.text(0.5, 0.5, "nothing to show yet", ha="center", color=TEXT_COLOUR)
    return figure


# ---- command line ----------------------------------------------------------------------------------------------------


def main(run: Annotated[Path, tyro.conf.Positional], format: Format = "terminal", out: Path | None = None) -> None:
    """Report what a search says of the schedule, and draw the gain over scheduling steps and floor.

    Args:
        run: a run of schedule_search, such as results/schedule_search/my_run
        format: of the report
        out: folder of the picture (default: figures/ of the run)
    """
    space, trials = read_space(run), load(run).trials
    path = save(draw(gain_cells(trials), space), (out or run / names.FIGURES_FOLDER) / FIGURE)
    if format == "csv":
        print(as_csv(trials, space), end="")
    elif format == "markdown":
        print(markdown(f"Schedules of {run.name}", sections(trials, space), [_from(run, path)]), end="")
    else:
        print_sections(sections(trials, space), Console())
    print(f"Figure: {path}", file=sys.stderr)


def _from(run: Path, path: Path) -> str:
    """A path as a text kept in the run folder names it."""
    return str(path.relative_to(run) if path.is_relative_to(run) else path.resolve())


if __name__ == "__main__":
    try:
        tyro.cli(main, prog="python -m analysis.schedule_report")
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
