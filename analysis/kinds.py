"""Sections, plots and best settings of each kind of run: search in groups, comparison, older search.

This is the only place that depends on the kind. A new plot is listed in the module of its kind in `plots/`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import pandas as pd

from analysis.plots import arm_plots, group_plots, published_plots, search_plots
from analysis.plots.plot import Plot
from analysis.results import Findings
from analysis.sections.arm_sections import arm_sections
from analysis.sections.document import Section
from analysis.sections.group_sections import group_sections
from analysis.sections.run_sections import failed, not_controlled, question, where
from analysis.sections.search_sections import search_sections
from analysis.tables.best_settings import best_of_arms, best_of_depths, best_of_groups
from trainable import names


@dataclass(frozen=True)
class Kind:
    """The parts of a report that depend on the kind of run."""

    sections: Callable[[Findings], list[Section]]
    plots: tuple[Plot, ...]
    best: Callable[[Findings], pd.DataFrame]  # table with one row for each best setting


GROUPS: Final = Kind(group_sections, group_plots.PLOTS, best_of_groups)
SEARCH: Final = Kind(search_sections, search_plots.PLOTS, best_of_depths)
COMPARISON: Final = Kind(arm_sections, arm_plots.PLOTS, best_of_arms)


def sections(found: Findings) -> list[Section]:
    """The sections of the summary, in order."""
    return [question(found), *_of_kind(found), failed(found), not_controlled(found), where(found, pictures(found))]


@lru_cache(maxsize=1)
def _of_kind(found: Findings) -> tuple[Section, ...]:
    """Sections of the run's kind; the last ones are kept, because summary, page and terminal show the same."""
    return tuple(_kind(found).sections(found))


def plots(found: Findings) -> tuple[Plot, ...]:
    """The plots of a run, in the order of its report."""
    return (*_kind(found).plots, *published_plots.PLOTS)


def best_settings(found: Findings) -> pd.DataFrame:
    """The best setting of each group, arm or depth."""
    return _kind(found).best(found)


def pictures(found: Findings) -> tuple[str, ...]:
    """File names of the pictures of a run that exist."""
    known = (name for plot in plots(found) for name in plot.pictures)
    return tuple(name for name in known if (found.folder / names.FIGURES_FOLDER / name).is_file())


def _kind(found: Findings) -> Kind:
    if found.record.is_grouped:
        return GROUPS
    return COMPARISON if found.record.is_comparison else SEARCH
