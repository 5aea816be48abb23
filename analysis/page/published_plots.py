"""Our curves over those of the published study that a study repeats."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from analysis.columns import ARM, LAYERS, ROLE
from analysis.figures.arm_looks import looks_of
from analysis.figures.style import COLOURS, CONTROL_COLOUR
from analysis.page.arm_plots import arm_traces
from analysis.page.plot_data import GAIN_TITLE, LOSS_TITLE, Group, Plot, axes_and_legend, legend_entries
from analysis.results import Results, load
from analysis.sections.run_sections import Run
from analysis.tables.arm_lines import MEAN, PANEL, UNITS, arm_lines
from analysis.tables.counterparts import COUNTERPART, SHARE, repeated, shares
from analysis.tables.differences import PANEL_NAME, between_controls, gain_lines
from analysis.wording import plural
from trainable import names

PUBLISHED: Final = Path(__file__).parents[2] / "results" / "published"
REPEATS: Final = {
    "kfold": "k_fold",
    "schedule_types": "schedules",
    "schedule_steps": "schedules",
    "layer_depth": "schedules",
    "validation_size": "validation_size",
}  # study -> folder of the published one
PUBLISHED_MODEL: Final = {"vocabulary": 32000, "model.hidden": 1024}


def published_groups(run: Run) -> list[Group]:
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
        layout = axes_and_legend("share of the run", LOSS_TITLE if same_model else GAIN_TITLE, legend_entries(traces))
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
    return [t for line, arm in named for t in arm_traces(line, look, SHARE, f"{who}: {arm}", dash)]


def control_overlays(own: pd.DataFrame, published: pd.DataFrame) -> Iterator[Plot]:
    """One plot: by how much deeper or otherwise evaluated controls are below the first, over the share of the run."""
    theirs = published[published[LAYERS].isin({*own[LAYERS]})]
    if own.empty or theirs.empty:
        return
    traces: list[dict[str, Any]] = []
    for who, lines, dash in (("here", shares(own), ""), ("published", shares(theirs), "dot")):
        for i, (name, line) in enumerate(lines.groupby(PANEL_NAME, sort=False)):
            colour = COLOURS[list(COLOURS)[i % len(COLOURS)]]
            look = {"color": colour, "linewidth": 1.5, "linestyle": "-"}
            traces += arm_traces(line.assign(**{UNITS: 1}), look, SHARE, f"{who}: {name}", dash)
    layout = axes_and_legend("share of the run", "below the first control (nats per token)", legend_entries(traces))
    yield Plot("", {"data": traces, "layout": layout})
