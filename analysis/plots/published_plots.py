"""Curves of a run together with those of the published study that it repeats; shown on the page, not as pictures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pandas as pd

from analysis.columns import ARM, LAYERS, ROLE
from analysis.plots.arm_plots import arm_line
from analysis.plots.looks import ARM_COLOURS, CONTROL_COLOUR, ArmLook, arm_label, arm_looks
from analysis.plots.plot import GAIN_TITLE, LOSS_TITLE, Line, Panel, Plot, PlotData
from analysis.results import Findings, Results, load
from analysis.tables.arm_lines import MEAN, PANEL, UNITS, arm_lines
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
SHARE: Final = "share"  # of the run: step / last step
SHARE_TITLE: Final = "share of the run"
COUNTERPART: Final = "counterpart"  # name of the arm of this run that repeats a published arm


def arms_beside_published(found: Findings) -> PlotData | None:
    """Arms over the share of the run: this run solid, the published ones dotted; None where nothing corresponds.

    Shows losses where model and vocabulary have the published size, else gains.
    """
    published = _published(found)
    if published is None:
        return None
    same = _same_model(found)
    panels = tuple(_arm_panels(found, published, same))
    if not panels:
        return None
    title = LOSS_TITLE if same else GAIN_TITLE
    return PlotData(
        title="Beside the published study",
        note=_caution(same),
        x_title=SHARE_TITLE,
        y_title=title,
        panels=panels,
        is_difference=not same,
    )


def controls_beside_published(found: Findings) -> PlotData | None:
    """Differences between the first control and controls of other depths or validation sets; None without any."""
    published = _published(found)
    if published is None:
        return None
    own, theirs = between_controls(found.results), between_controls(published)
    theirs = theirs[theirs[LAYERS].isin({*own[LAYERS]})]
    if own.empty or theirs.empty:
        return None
    lines = []
    for who, table in (("here", own), ("published", theirs)):
        for i, (name, line) in enumerate(shares(table).groupby(PANEL_NAME, sort=False)):
            look = ArmLook(ARM_COLOURS[i % len(ARM_COLOURS)], "dot" if who == "published" else "solid", 1.5, "")
            lines.append(arm_line(line.assign(**{UNITS: 1}), look, SHARE, f"{who}: {name}"))
    return PlotData(
        title="Controls beside the published study",
        note=f"{_caution(_same_model(found))} Above 0: a lower loss than that of the first control.",
        x_title=SHARE_TITLE,
        y_title="loss below the first control",
        panels=(Panel(title="", lines=tuple(lines)),),
        is_difference=True,
    )


def _published(found: Findings) -> Results | None:
    """The published study that this one repeats; None where there is none, or its files are absent."""
    if found.record.study not in REPEATS:
        return None
    folder = PUBLISHED / REPEATS[found.record.study]
    return load(folder) if folder.is_dir() else None


def _same_model(found: Findings) -> bool:
    known = {"vocabulary": found.record.tokenizer.vocab_size, **found.settings}
    return all(known.get(key) == value for key, value in PUBLISHED_MODEL.items())


def _caution(same_model: bool) -> str:
    differs = "Model, vocabulary and corpus differ from the published ones: shown are differences between arms, not"
    model = "Model and vocabulary have the published size." if same_model else f"{differs} losses."
    return (
        "Solid: this run. Dotted: the published study. The x axis is step / last step. "
        f"{model} Other differences: results/published/README.md."
    )


def _arm_panels(found: Findings, published: Results, same_model: bool) -> Iterator[Panel]:
    """A panel for each depth that both studies have, unless only a control would be in the panel."""

    def lines_of(results: Results, arms: tuple[str, ...]) -> pd.DataFrame:
        return arm_lines(results, names.EVAL_LOSS, arms) if same_model else gain_lines(results, arms)

    here = shares(lines_of(found.results, found.record.arms))
    there = shares(repeated(lines_of(published, ()), here))
    looks = arm_looks(here)
    for depth, ours in here.groupby(LAYERS):
        theirs = there[there[LAYERS] == depth]
        if not {*ours[ROLE], *theirs[ROLE]} - {names.CONTROL} or theirs.empty:
            continue
        lines = [line for arm, look in looks.items() for line in _overlays(ours[ours[ARM] == arm], look, "here")]
        for _, line in theirs.groupby(ARM):
            look = looks.get(line[COUNTERPART].iloc[0], ArmLook(CONTROL_COLOUR, "solid", 1.2, ""))
            if (line[ROLE] != names.CONTROL).any() or line[MEAN].any():  # a published control is a line at 0: left out
                lines += _overlays(line, look._replace(dash="dot"), "published")
        yield Panel(title=plural(int(depth)), lines=tuple(lines))


def _overlays(lines: pd.DataFrame, look: ArmLook, who: str) -> Iterator[Line]:
    """Lines of one arm, one for each budget and validation set."""
    for _, line in lines.groupby(PANEL, dropna=False):
        label = arm_label(str(line[ARM].iloc[0]), is_control=True)
        yield arm_line(line, look, SHARE, f"{who}: {label}")


def shares(lines: pd.DataFrame) -> pd.DataFrame:
    """`lines` with the column share: step / last step of the panel."""
    return lines.assign(**{SHARE: lines[names.STEP] / lines.groupby(PANEL, dropna=False)[names.STEP].transform("max")})


def repeated(published: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """The published lines at the depths of this run, with the name of the arm here that repeats each.

    Lines without such an arm are left out, unless no line has one. The published exponential and reciprocal schedules,
    which end after a few steps, correspond to the arms called "as published".
    """
    arms = set(own[ARM])
    here = published[published[LAYERS].isin(own[LAYERS])]
    named = [next((name for name in (f"{arm}, as published", arm) if name in arms), "") for arm in here[ARM]]
    here = here.assign(**{COUNTERPART: named})
    return here[here[COUNTERPART] != ""] if (here[COUNTERPART] != "").any() else here


PLOTS: Final = (
    Plot(name="beside_published", make=arms_beside_published, in_pictures=False),
    Plot(name="controls_beside_published", make=controls_beside_published, in_pictures=False),
)
