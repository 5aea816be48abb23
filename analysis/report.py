"""What a run found, as one HTML page that needs no network: words and tables of the summary, and plots to look into.

    python -m analysis.report results/schedule_types/my_run [--out report.html]

The page holds plotly.js once, compressed, and asks for nothing else, so it can be mailed or kept beside the run (about
0.6 MB; the same run gives the same bytes). Its text and tables are those of summary.md. Where the study repeats a published one, our curves lie over the published ones.

`plotly-basic.min.js` is plotly.js 4.1.1 (MIT licence, in its first lines and `plotly-basic.LICENSE`), the bundle with
scatter alone of what is used here. It is the npm package plotly.js-basic-dist-min; to renew it, copy both files from
what `npm pack plotly.js-basic-dist-min` unpacks to, and run tests/test_report.py where Chromium is.

Data apart from drawing: the functions that make tables know nothing of plotly; a figure is plain JSON, drawn by the
browser. The page itself is `report.html.jinja`, which escapes all that it is given.
"""

import html
import os
import sys
import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import numpy as np
import pandas as pd
import tyro
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.colors import to_hex, to_rgb

from analysis import figures
from analysis.best import CONFIRMED, CONFIRMED_N, CONFIRMED_SD
from analysis.curves import BUDGET, ENDS, HIGH, LOW, MEAN, PANEL, UNITS, arm_lines, looks_of, shown_trials
from analysis.document import Section
from analysis.figures import CONTROL_COLOUR, FLOORS, KIND, TAIL, best_points, describe, gain_points, plural
from analysis.results import (
    ARM,
    EVAL_ROWS,
    FOLD,
    FOLDS,
    LAYERS,
    MIN_WEIGHT,
    ROLE,
    SCHEDULE,
    SEED,
    STATE,
    TEACHER_STEPS,
    TRIAL,
    Results,
    load,
)
from analysis.sections import LEAK, Run
from analysis.summary import is_comparison, read_all, sections
from trainable import names
from trainable.errors import InputError
from trainable.files import atomic_file

REPORT_FILE: Final = "report.html"
TEMPLATE: Final = "report.html.jinja"
PLOTLY: Final = Path(__file__).with_name("plotly-basic.min.js")
OPENING: Final = ("Question", "Verdict", "Setting")  # titles of sections, in the order of the page
PROBE: Final = "LEAK PROBE"  # how the status of a run starts in which a teacher knows validation rows
CLOSING: Final = ("Not controlled", "Where things are")

PUBLISHED: Final = Path(__file__).parents[1] / "results" / "published"
REPEATS: Final = {
    "kfold": "k_fold",
    "schedule_types": "schedules",
    "schedule_steps": "schedules",
    "layer_depth": "schedules",
    "validation_size": "validation_size",
}  # study -> folder of the published one
PUBLISHED_MODEL: Final = {"vocabulary": 32000, "model.hidden": 1024}
SHARE: Final = "share"  # of the run: step / last step
PANEL_NAME: Final = "panel"
COUNTERPART: Final = "counterpart"  # of a published arm: the name of our arm that repeats it
UNIT: Final = [SEED, FOLD]  # what a guided trial and its control share

LOSS_TITLE: Final = "validation loss (nats per token)"
GAIN_TITLE: Final = "gain (nats per token)"
STEP_TITLE: Final = "optimizer steps"
SYMBOLS: Final = {"linear": "circle", "exponential": "square", "reciprocal": "triangle-up", "step": "diamond"}
DASHES: Final = {"-": "solid", "--": "dash"}
BLACK: Final = "#000000"
NOT_BLACK: Final = "#999933"  # stands for black, which a dark page would hide
DIGITS: Final = 6  # significant ones, of numbers in the page


@dataclass(frozen=True)
class Plot:
    """One figure of plotly.js, as JSON-able data, under a heading ("" for none)."""

    title: str
    figure: dict[str, Any]


@dataclass(frozen=True)
class Group:
    """Plots of one thing, a plot a panel; `zooms`: they can show the end of the run alone."""

    title: str
    note: str
    plots: tuple[Plot, ...]
    zooms: bool = False


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the page of a run folder (atomically; default RUN/report.html), return its path. InputError if no run."""
    target = Path(out) if out is not None else Path(run) / REPORT_FILE
    text = page(read_all(Path(run)), target.parent)
    with atomic_file(target, "w") as stream:
        stream.write(text)
    return target


def page(run: Run, folder: Path) -> str:
    """The page; its links are relative to `folder`."""
    written = sections(run)
    record = run.record
    dates = [f"{key} {record[key]}" for key in ("created", "ended") if record.get(key)]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(TEMPLATE).render(
        title=f"{record['study']}: {record['run']}",
        subtitle=", ".join(dates),
        opening=_titled(written, OPENING),
        middle=[section for section in written if section.title not in (*OPENING, *CLOSING)],
        closing=_titled(written, CLOSING),
        groups=groups(run),
        leak=leak_status(run),
        leaks=leak_status(run).startswith(PROBE),
        links=links(run.folder, folder),
        plotly=packed_plotly(),
    )


def packed_plotly() -> str:
    """plotly.js as the page holds it: zlib's format, which DecompressionStream calls "deflate", in base64."""
    return b64encode(zlib.compress(PLOTLY.read_bytes(), level=9)).decode("ascii")


def _titled(written: Iterable[Section], titles: Sequence[str]) -> list[Section]:
    return sorted((section for section in written if section.title in titles), key=lambda s: titles.index(s.title))


def leak_status(run: Run) -> str:
    """Whether a teacher of this run has counted rows that validate, from the setting teacher.rows of each trial."""
    trials = run.results.trials
    guided = trials[trials[ROLE] != names.CONTROL]
    counted, leaking = set(guided["teacher.rows"]), guided[guided["teacher.rows"] == "all"]
    arms = sorted(set(leaking[ARM])) if ARM in trials else []
    if len(leaking) == len(guided) > 0 or "" in arms or (len(leaking) and not arms):
        return LEAK
    if not counted:
        return "No leak: no trial of this run has a teacher."
    known = {"student": "the rows that the student trains on", "train_split": "rows of the training split"}
    folds = " Each fold has a table of its own, without the fold's rows." if run.settings[FOLDS] else ""
    which = " or ".join(known[rows] for rows in sorted(counted - {"all"}))
    if arms:
        return (
            f"{PROBE} in {', '.join(arms)}: that teacher has counted the validation rows too, so its gain does not say "
            f"that a teacher helps. The other teachers counted only {which}.{folds}"
        )
    return f"No leak: teachers counted only {which}; none of the validation rows were counted.{folds}"


def links(run: Path, folder: Path) -> list[tuple[str, str]]:
    """Name and address, relative to `folder`, of what there is in a run folder."""
    tables = (names.SUMMARY_FILE, names.RUN_FILE, names.TRIALS_TABLE, names.CURVES_TABLE, names.RUNGS_FILE)
    pictures = sorted(f"{names.FIGURES_FOLDER}/{path.name}" for path in (run / names.FIGURES_FOLDER).glob("*.png"))
    there = [name for name in (*tables, *pictures, names.TRIALS_FOLDER) if (run / name).exists()]
    base = Path(os.path.relpath(run.resolve(), folder.resolve())).as_posix()
    return [(name, quote(f"{base}/{name}".removeprefix("./"))) for name in there]


# ---- tables of what is drawn -----------------------------------------------------------------------------------------


def gain_lines(results: Results, arms: Sequence[str] = ()) -> pd.DataFrame:
    """`arm_lines` of the gain: at each step over the control of the same panel, seed and fold, 0 for a control."""
    shown = shown_trials(results)
    points = results.curves[[TRIAL, names.STEP, names.EVAL_LOSS]].merge(shown[[TRIAL, ROLE, *PANEL, *UNIT]], on=TRIAL)
    same = [*PANEL, *UNIT, names.STEP]
    controls = points.loc[points[ROLE] == names.CONTROL, [*same, names.EVAL_LOSS]].drop_duplicates(same)
    paired = points.merge(controls, on=same, suffixes=("", "_control"))
    paired[names.GAIN] = paired[f"{names.EVAL_LOSS}_control"] - paired[names.EVAL_LOSS]
    others = results.curves.drop(columns=names.GAIN)
    curves = others.merge(paired[[TRIAL, names.STEP, names.GAIN]], on=[TRIAL, names.STEP], how="left")
    return arm_lines(Results(results.trials, curves), names.GAIN, arms)


def trial_lines(results: Results) -> pd.DataFrame:
    """One row an evaluation of a search's trials and their controls: `figures.curve_lines` with gain and schedule."""
    more = [TRIAL, names.STEP, names.GAIN, TEACHER_STEPS, MIN_WEIGHT]
    return figures.curve_lines(results).merge(results.curves[more], on=[TRIAL, names.STEP])


def shares(lines: pd.DataFrame) -> pd.DataFrame:
    """`lines` with the column share: step / last step of the panel."""
    return lines.assign(**{SHARE: lines[names.STEP] / lines.groupby(PANEL, dropna=False)[names.STEP].transform("max")})


def repeated(published: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """The published lines at our depths whose arm we have, with its name here; all at our depths if we have none."""
    arms = set(own[ARM])
    here = published[published[LAYERS].isin(own[LAYERS])]
    here = here.assign(**{COUNTERPART: [_counterpart(arm, arms) for arm in here[ARM]]})
    return here[here[COUNTERPART] != ""] if (here[COUNTERPART] != "").any() else here


def _counterpart(arm: str, arms: set[str]) -> str:
    """The published exponential and reciprocal schedules are what we call "as published": over after a few steps."""
    return next((name for name in (f"{arm}, as published", arm) if name in arms), "")


def between_controls(results: Results) -> pd.DataFrame:
    """How far each panel's control is below the control of the first panel (fewest layers, fewest rows), by step.

    Columns: model.layers, budget, corpus.eval_rows, panel (in words), step, mean, low, high (all the same), units.
    """
    lines = arm_lines(results, names.EVAL_LOSS)
    lines = lines[lines[ROLE] == names.CONTROL]
    if lines.empty:
        return lines.assign(**{PANEL_NAME: ""})
    keys = lines[PANEL].drop_duplicates().sort_values(PANEL)
    first = lines.merge(keys.iloc[:1], on=PANEL)[[names.STEP, MEAN]]
    others = lines.merge(keys.iloc[1:], on=PANEL).merge(first, on=names.STEP, suffixes=("", "_first"))
    below = others[f"{MEAN}_first"] - others[MEAN]
    words = [_panel_words(key, keys, " rather than ") for key in others[PANEL].itertuples(index=False, name=None)]
    return others.assign(**{MEAN: below, LOW: below, HIGH: below, PANEL_NAME: words})


def _panel_words(key: tuple[Any, ...], keys: pd.DataFrame, versus: str = "") -> str:
    """What tells a panel from the others: "2 layers"; with `versus`, "2 layers rather than 1 layer"."""
    parts = []
    for column, value in zip(PANEL, key, strict=True):
        if keys[column].nunique(dropna=False) > 1 or (column == LAYERS and not versus):
            parts.append(_value_words(column, value) + (versus and versus + _value_words(column, keys[column].iloc[0])))
    return ", ".join(parts)


def _value_words(column: str, value: float) -> str:
    if column == LAYERS:
        return plural(int(value))
    unit = {BUDGET: "steps", EVAL_ROWS: "validation rows"}[column]
    return f"{value:,.0f} {unit}" if np.isfinite(value) else f"all {unit}"


# ---- groups of plots -------------------------------------------------------------------------------------------------


def groups(run: Run) -> list[Group]:
    """All plots of the page."""
    results = run.results
    arms = run.record["spec"].get("arms", ())
    drawn = _comparison_groups(results, arms) if is_comparison(run.record) else _search_groups(results)
    return [*drawn, *_published_groups(run)]


def _comparison_groups(results: Results, arms: Sequence[str]) -> list[Group]:
    loss, gain = arm_lines(results, names.EVAL_LOSS, arms), gain_lines(results, arms)
    units = "A line is the mean over units (seeds, folds), its band runs from the lowest to the highest of them"
    drawn = [
        Group(
            "Validation loss by arm",
            f"{units}; a ring shows where a teacher ends. Plain cross-entropy, teacher off. Click an arm in the legend "
            "to hide it, drag to zoom.",
            tuple(arm_plots(loss, LOSS_TITLE)),
            zooms=True,
        )
    ]
    gain = gain[(gain[ROLE] != names.CONTROL).groupby([gain[key] for key in PANEL], dropna=False).transform("any")]
    if len(gain):
        note = f"{units}. The control of the same unit is the line at 0; above it, guided is better."
        drawn.append(Group("Gain over steps", note, tuple(arm_plots(gain, GAIN_TITLE)), zooms=True))
    return drawn


def _search_groups(results: Results) -> list[Group]:
    points, marks, lines = gain_points(results.trials), best_points(results.trials), trial_lines(results)
    loss, gain = arm_lines(results, names.EVAL_LOSS), gain_lines(results)
    seeds = "The best schedule of each depth beside its control, on the seeds that confirmed it and did not choose it"
    band = "mean, with a band from the lowest to the highest seed. Without a confirmation: on the seed that chose it."
    return [
        Group(
            "Gain by schedule",
            "A point a trial of the search, on the search's seed: shape by type, colour by floor; hollow: stopped by "
            "ASHA, with its gain then. Orange bar: the best on other seeds, mean ± sd.",
            tuple(schedule_plots(points, marks)),
        ),
        Group("Gain over steps", f"{seeds}: {band}", tuple(arm_plots(gain, GAIN_TITLE)), zooms=True),
        Group("Validation loss over steps", f"{seeds}: {band}", tuple(arm_plots(loss, LOSS_TITLE)), zooms=True),
        Group(
            "Gain over steps, every trial of the search",
            "On the search's seed; the control is the line at 0, the best schedule is thick. A circle ends a trial "
            "that ASHA stopped. Point at a line to see which trial it is.",
            tuple(trial_plots(lines[lines[KIND] != "control"], names.GAIN, GAIN_TITLE)),
            zooms=True,
        ),
        Group(
            "Validation loss, every trial of the search",
            "The same trials with their control (grey).",
            tuple(trial_plots(lines, names.EVAL_LOSS, LOSS_TITLE)),
            zooms=True,
        ),
    ]


def _published_groups(run: Run) -> list[Group]:
    """Our curves over those of the published study that this one repeats; nothing where either is absent."""
    folder = PUBLISHED / REPEATS.get(run.record["study"], "")
    if run.record["study"] not in REPEATS or not folder.is_dir():
        return []
    published, same = load(folder), _same_model(run)
    arms = arm_overlays(run.results, published, same, run.record["spec"].get("arms", ()))
    controls = control_overlays(between_controls(run.results), between_controls(published))
    caution = (
        "Solid: this run. Dotted: published. The x axis is the share of the run, step / last step. "
        + ("Model and vocabulary have the published size" if same else "Model, vocabulary and corpus differ")
        + ("." if same else " from the published ones, so differences between arms are shown, not losses.")
        + " What else differs: results/published/README.md."
    )
    found = [
        Group("Beside the published study", caution, tuple(arms)),
        Group("Controls beside the published study", f"{caution} Above 0: a lower loss.", tuple(controls)),
    ]
    return [group for group in found if group.plots]


def _same_model(run: Run) -> bool:
    known = {"vocabulary": run.record["tokenizer"]["vocab_size"], **run.settings}
    return all(known.get(key) == value for key, value in PUBLISHED_MODEL.items())


# ---- drawing: figures as plain data ----------------------------------------------------------------------------------


def arm_plots(lines: pd.DataFrame, y_title: str) -> Iterator[Plot]:
    """A plot a depth, budget and validation set: mean and band of each arm, a ring where its teacher ends."""
    looks, keys = looks_of(lines), lines[PANEL].drop_duplicates()
    y_range = _range(lines) if y_title == GAIN_TITLE else None  # gains compare across panels
    for key, here in lines.groupby(PANEL, dropna=False):
        arms = [arm for arm in looks if arm in set(here[ARM])]
        traces = [trace for arm in arms for trace in _arm_traces(here[here[ARM] == arm], looks[arm], names.STEP)]
        title = _panel_words(key, keys) if len(keys) > 1 else ""
        layout = _layout(STEP_TITLE, y_title, len(arms), y_range)
        yield Plot(title, {"data": traces, "layout": layout | {"meta": _views(here, LOW, HIGH, y_range)}})


def _arm_traces(
    line: pd.DataFrame, look: Mapping[str, Any], x: str, name: str = "", dash: str = ""
) -> Iterator[dict[str, Any]]:
    """Band, mean and ring of one arm; they share a place in the legend."""
    arm, colour = line[ARM].iloc[0], _colour(look["color"])
    control = line[ROLE].iloc[0] == names.CONTROL
    label = name or (str(arm).replace("none", "control", 1) if control else arm)
    shared = {"type": "scatter", "legendgroup": _text(label), "name": _text(label)}
    silent = shared | {"showlegend": False, "hoverinfo": "skip"}
    if line[UNITS].max() > 1:
        band = {"mode": "lines", "line": {"width": 0}, "fill": "toself", "fillcolor": _faint(colour)}
        around = {"x": _numbers([*line[x], *line[x][::-1]]), "y": _numbers([*line[HIGH], *line[LOW][::-1]])}
        yield silent | band | around
    style = {"color": colour, "width": look["linewidth"] + 0.3, "dash": dash or DASHES[look["linestyle"]]}
    told = [[*_numbers(row[:2]), int(row[2])] for row in line[[LOW, HIGH, UNITS]].to_numpy()]
    spread = " (%{customdata[0]:.4f} to %{customdata[1]:.4f}, n = %{customdata[2]})" if line[UNITS].max() > 1 else ""
    hover = {"customdata": told, "hovertemplate": f"%{{fullData.name}}: %{{y:.4f}}{spread}<extra></extra>"}
    yield shared | hover | {"mode": "lines", "line": style, "x": _numbers(line[x]), "y": _numbers(line[MEAN])}
    ends, steps = float(line[ENDS].iloc[0]), line[names.STEP].to_numpy(float)
    if x == names.STEP and steps[0] <= ends <= steps[-1]:
        at = float(np.interp(ends, steps, line[MEAN].to_numpy(float)))
        ring = {"symbol": "circle-open", "size": 9, "color": colour, "line": {"width": 2}}
        yield silent | {"mode": "markers", "marker": ring, "x": [ends], "y": _numbers([at])}


def trial_plots(lines: pd.DataFrame, column: str, y_title: str) -> Iterator[Plot]:
    """A plot a depth: a line a trial, coloured by type, the best thick, the control grey."""
    y_range = _range(lines, column, column) if column == names.GAIN else None
    several = lines[LAYERS].nunique() > 1
    for depth, here in lines.groupby(LAYERS):
        trials = sorted((trial for _, trial in here.groupby(TRIAL)), key=_trial_order)
        traces = [trace for trial in trials for trace in _trial_traces(trial, column)]
        firsts: set[str] = set()
        for trace in traces:  # a type is once in the legend
            trace["showlegend"] = trace["mode"] == "lines" and trace["legendgroup"] not in firsts
            firsts |= {trace["legendgroup"]} if trace["showlegend"] else set()
        layout = _layout(STEP_TITLE, y_title, len(firsts), y_range, hover="closest")
        meta = {"meta": _views(here, column, column, y_range)}
        yield Plot(plural(int(depth)) if several else "", {"data": traces, "layout": layout | meta})


def _trial_order(trial: pd.DataFrame) -> tuple[int, str]:
    """Drawn last, seen best."""
    return ["guided", "control", "best"].index(trial[KIND].iloc[0]), str(trial[SCHEDULE].iloc[0])


def _trial_traces(trial: pd.DataFrame, column: str) -> Iterator[dict[str, Any]]:
    last = trial.iloc[-1]
    kind, schedule = last[KIND], last[SCHEDULE]
    colour = {"control": CONTROL_COLOUR, "best": figures.BEST_COLOUR}.get(kind) or _type_colour(schedule)
    label = {"control": "control", "best": f"best: {describe(last)}"}.get(kind, schedule)
    width = 1.1 if kind == "guided" else 2.6
    hover = f"%{{text}}<br>step %{{x}}: %{{y:.4f}}<extra>{_text(last[STATE])}</extra>"
    shared = {"type": "scatter", "name": _text(label), "legendgroup": _text(label)}
    xs, ys = _numbers(trial[names.STEP]), _numbers(trial[column])
    told = {"text": [_text(last[TRIAL])] * len(xs), "hovertemplate": hover}
    line = {"color": colour, "width": width}
    yield shared | told | {"mode": "lines", "line": line, "opacity": 0.8 if kind == "guided" else 1, "x": xs, "y": ys}
    if last[STATE] == names.STOPPED:
        ring = {"symbol": "circle-open", "size": 7, "color": colour}
        yield shared | {"mode": "markers", "marker": ring, "hoverinfo": "skip", "x": xs[-1:], "y": ys[-1:]}


def schedule_plots(points: pd.DataFrame, marks: pd.DataFrame) -> Iterator[Plot]:
    """A plot a depth: gain over scheduling steps, shape by type, colour by floor, hollow when stopped."""
    types = [name for name in SYMBOLS if name in set(points[SCHEDULE])]
    nudge = 0.02 * float(points[TEACHER_STEPS].max()) if len(points) else 0.0
    confirmed = marks[marks[CONFIRMED_N] > 0]
    ends = [points[names.GAIN], confirmed[CONFIRMED] - confirmed[CONFIRMED_SD].fillna(0)]
    ends += [confirmed[CONFIRMED] + confirmed[CONFIRMED_SD].fillna(0), pd.Series([0.0])]
    y_range = _range(pd.DataFrame({LOW: pd.concat(ends), HIGH: pd.concat(ends)}))
    top = max(float(points[MIN_WEIGHT].max()), 0.01) if len(points) else 1.0
    for depth, here in points.groupby(LAYERS):
        shifted = {name: (i - (len(types) - 1) / 2) * nudge for i, name in enumerate(types)}
        parts = [here[here[SCHEDULE] == name] for name in types]
        traces = [t for part in parts if len(part) for t in _schedule_traces(part, shifted[part[SCHEDULE].iloc[0]])]
        best = confirmed[confirmed[LAYERS] == depth]
        traces += [_confirmed_trace(row, shifted.get(row[SCHEDULE], 0) + nudge / 2) for _, row in best.iterrows()]
        layout = _layout("scheduling steps T", GAIN_TITLE, _named(traces), y_range, hover="closest")
        title = plural(int(depth)) if points[LAYERS].nunique() > 1 else ""
        yield Plot(title, {"data": traces, "layout": layout | {"coloraxis": _floor_axis(float(top))}})


def _schedule_traces(points: pd.DataFrame, shift: float) -> Iterator[dict[str, Any]]:
    """The points of one type, and its entry in the legend, which is grey, for colour tells the floor."""
    name = points[SCHEDULE].iloc[0]
    symbol = SYMBOLS[name]
    shared = {"type": "scatter", "mode": "markers", "name": _text(name), "legendgroup": _text(name)}
    yield shared | {"x": [None], "y": [None], "marker": {"symbol": symbol, "size": 9, "color": CONTROL_COLOUR}}
    told = [
        f"{_text(row[TRIAL])}<br>{_text(describe(row))}<br>{_text(row[STATE])} at step {row[names.STEP]}"
        for _, row in points.iterrows()
    ]
    marker = {
        "symbol": [symbol + ("-open" if state == names.STOPPED else "") for state in points[STATE]],
        "size": 10,
        "color": _numbers(points[MIN_WEIGHT]),
        "coloraxis": "coloraxis",
        "line": {"width": [2 if state == names.STOPPED else 0 for state in points[STATE]]},
    }
    yield shared | {
        "showlegend": False,
        "marker": marker,
        "x": _numbers(points[TEACHER_STEPS] + shift),
        "y": _numbers(points[names.GAIN]),
        "text": told,
        "hovertemplate": "%{text}: gain %{y:+.4f}<extra></extra>",
    }


def _confirmed_trace(mark: Any, shift: float) -> dict[str, Any]:
    sd = float(mark[CONFIRMED_SD]) if mark[CONFIRMED_N] > 1 else 0.0
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "best, on other seeds",
        "marker": {"symbol": "line-ew", "size": 12, "line": {"width": 3, "color": figures.BEST_COLOUR}},
        "error_y": {"type": "data", "array": _numbers([sd]), "color": figures.BEST_COLOUR, "thickness": 2, "width": 4},
        "x": _numbers([mark[TEACHER_STEPS] + shift]),
        "y": _numbers([mark[CONFIRMED]]),
        "text": [f"{_text(describe(mark))}, {int(mark[CONFIRMED_N])} other seeds"],
        "hovertemplate": "%{text}: mean gain %{y:+.4f}<extra></extra>",
    }


def _floor_axis(top: float) -> dict[str, Any]:
    """The colours of the floor, from 0 to the highest; the darkest end is left out, for a dark page would hide it."""
    scale = [[share, to_hex(FLOORS(0.25 + 0.75 * share))] for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    bar = {"title": {"text": "floor", "side": "top"}, "thickness": 10, "len": 0.9, "outlinewidth": 0}
    return {"colorscale": scale, "cmin": 0, "cmax": top, "colorbar": bar}


def arm_overlays(own: Results, published: Results, same_model: bool, arms: Sequence[str]) -> Iterator[Plot]:
    """A plot a depth that both studies have: arms over the share of the run, ours solid, the published ones dotted."""
    make = (lambda results, arms: arm_lines(results, names.EVAL_LOSS, arms)) if same_model else gain_lines
    here = shares(make(own, arms))
    there = shares(repeated(make(published, ()), here))
    looks = looks_of(here)
    for depth, ours in here.groupby(LAYERS):
        theirs = there[there[LAYERS] == depth]
        if not {*ours[ROLE], *theirs[ROLE]} - {names.CONTROL} or theirs.empty:
            continue
        traces = [trace for arm in looks for trace in _overlay_traces(ours[ours[ARM] == arm], looks[arm], False)]
        for _, line in theirs.groupby(ARM):
            look = looks.get(line[COUNTERPART].iloc[0]) or {"color": CONTROL_COLOUR, "linewidth": 1.2}
            traces += _overlay_traces(line, {**look, "linestyle": "-"}, True)
        layout = _layout("share of the run", LOSS_TITLE if same_model else GAIN_TITLE, _named(traces))
        title = plural(int(str(depth))) if here[LAYERS].nunique() > 1 else ""
        yield Plot(title, {"data": traces, "layout": layout})


def _overlay_traces(lines: pd.DataFrame, look: Mapping[str, Any], published: bool) -> list[dict[str, Any]]:
    """Of one arm: a line a panel (budgets and validation sets may differ). A published control at 0 tells nothing."""
    if published and (lines[ROLE] == names.CONTROL).all() and not lines[MEAN].any():
        return []
    who = "published" if published else "here"
    panels = [line for _, line in lines.groupby(PANEL, dropna=False)]
    named = [(line, line[ARM].iloc[0].replace("none", "control", 1)) for line in panels]
    dash = "dot" if published else ""
    return [t for line, arm in named for t in _arm_traces(line, look, SHARE, f"{who}: {arm}", dash)]


def control_overlays(own: pd.DataFrame, published: pd.DataFrame) -> Iterator[Plot]:
    """One plot: by how much deeper or otherwise evaluated controls are below the first, over the share of the run."""
    theirs = published[published[LAYERS].isin({*own[LAYERS]})]
    if own.empty or theirs.empty:
        return
    traces: list[dict[str, Any]] = []
    for who, lines, dash in (("here", shares(own), ""), ("published", shares(theirs), "dot")):
        for i, (name, line) in enumerate(lines.groupby(PANEL_NAME, sort=False)):
            colour = figures.COLOURS[list(figures.COLOURS)[i % len(figures.COLOURS)]]
            look = {"color": colour, "linewidth": 1.5, "linestyle": "-"}
            traces += _arm_traces(line.assign(**{UNITS: 1}), look, SHARE, f"{who}: {name}", dash)
    layout = _layout("share of the run", "below the first control (nats per token)", _named(traces))
    yield Plot("", {"data": traces, "layout": layout})


def _named(traces: Iterable[Mapping[str, Any]]) -> int:
    return sum(trace.get("showlegend", True) for trace in traces)


def _layout(
    x_title: str, y_title: str, entries: int, y_range: Sequence[float] | None = None, hover: str = "x unified"
) -> dict[str, Any]:
    """Axes, a legend below in as many rows as it needs, and a height with room for all of them on a narrow screen."""
    axis = {
        "automargin": True,
        "exponentformat": "none",
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
    }
    rises = y_title != LOSS_TITLE
    y_axis = axis | {"title": {"text": y_title}, "zeroline": rises, "zerolinewidth": 2}
    legend = {"orientation": "h", "x": 0, "y": -0.22, "yanchor": "top", "font": {"size": 12}}
    return {
        "height": 330 + 22 * entries,
        "margin": {"l": 56, "r": 10, "t": 28, "b": 50},
        "xaxis": axis | {"title": {"text": x_title, "standoff": 8}},
        "yaxis": y_axis | ({"range": list(y_range)} if y_range else {}),
        "legend": legend,
        "hovermode": hover,
        "showlegend": True,
        "font": {"size": 12},
    }


def _views(lines: pd.DataFrame, low: str, high: str, y_range: Sequence[float] | None) -> dict[str, Any]:
    """What the buttons show: the whole run, or its last 40 % with losses to match."""
    last = float(lines[names.STEP].max())
    late = lines[lines[names.STEP] >= (1 - TAIL) * last]
    whole = {"xaxis.autorange": True} | ({"yaxis.range": list(y_range)} if y_range else {"yaxis.autorange": True})
    steps = [float(late[names.STEP].min()), last]
    return {"whole": whole, "tail": {"xaxis.range": steps, "yaxis.range": _range(late, low, high)}}


def _range(lines: pd.DataFrame, low: str = LOW, high: str = HIGH) -> list[float] | None:
    """From the lowest to the highest, with a little room; None without a line."""
    if lines.empty:
        return None
    least, most = float(lines[low].min()), float(lines[high].max())
    room = 0.05 * max(most - least, 0.01)
    return _numbers([least - room, most + room])


def _numbers(values: Iterable[Any]) -> list[Any]:
    """Numbers fit for JSON: short, and None for what is not finite."""
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values]


def _text(value: Any) -> str:
    """Escaped, for plotly.js takes some tags in text."""
    return html.escape(str(value), quote=False)


def _type_colour(schedule: str) -> str:
    return figures.COLOURS.get(schedule, CONTROL_COLOUR)


def _colour(colour: str) -> str:
    return NOT_BLACK if colour == BLACK else colour


def _faint(colour: str) -> str:
    red, green, blue = (round(255 * part) for part in to_rgb(colour))
    return f"rgba({red}, {green}, {blue}, 0.14)"


# ---- command line ----------------------------------------------------------------------------------------------------


def main(run: Annotated[Path, tyro.conf.Positional], out: Path | None = None) -> None:
    """Write what a run found as one HTML page that needs no network.

    Args:
        run: a run folder, such as results/schedule_types/my_run
        out: the page (default: report.html in the run folder)
    """
    print(write_report(run, out))


if __name__ == "__main__":
    try:
        tyro.cli(main, prog="python -m analysis.report")
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
