"""Replay ASHA over curves that ran in full, to see what early stopping would have saved and lost.

ASHA judges a trial at rungs: after `grace` steps, then each time after `factor` times as many steps. Judged too early,
while its teacher is still on, a guided trial that would have won is stopped. Trials that ran to their end show what
each choice of grace period and factor would have saved and lost, over many random orders of arrival:

    spent     trial-steps run, as a share of all trials run to their end
    survives  chance that the best trial (by its last validation loss) is run to its end
    regret    last loss of the best trial that was run to its end - last loss of the best trial, in nats per token

Trials with the same control (same depth, seed and fold) compete. Within such a group the order by gain at a step equals
the order by validation loss, so the loss decides. At least two trials must share a control; where a study has one arm,
`--controls` lets the control compete as well. In a search in groups, search trials compete within their arm, and each
is judged only after the end of its own teacher, as in the search itself.

    python -m analysis.asha_replay results/published/k_fold --controls
    python -m analysis.asha_replay results/schedule_types/run_1 --grace 60 120 240 --factor 2 4 --format markdown
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import tyro

from analysis.columns import ARM, STATE
from analysis.command import RunPath, run_command, write_or_say
from analysis.figures.replay_figure import FIGURE, draw
from analysis.figures.style import save
from analysis.results import Results, load
from analysis.tables.replay import REGRET, SPENT, SURVIVES, grace_periods, groups, lead, longest_schedules, replay
from trainable import names
from trainable.errors import InputError
from trainable.record.option import option
from trainable.record.run_record import read_record

Format = Literal["text", "csv", "markdown"]


def main(
    results: Annotated[tuple[RunPath, ...], tyro.conf.Positional, option("DIR|URI ...", "none")],
    grace: Annotated[tuple[int, ...], option("INT ...", "evaluation steps from the first to the last")] = (),
    factor: Annotated[tuple[int, ...], option("INT ...")] = (2, 3, 4),
    orders: int = 200,
    slots: int = 4,
    seed: int = 0,
    controls: bool = False,
    format: Format = "text",
    figure: Annotated[Path | None, option("PATH", "figures/asha_replay.png in the first folder")] = None,
) -> None:
    """Replay ASHA over curves that ran in full, and show what each grace period and factor would have saved and lost.

    Args:
        results: run folders, or folders of results/published
        grace: grace periods in steps
        factor: reduction factors
        orders: random orders of arrival for each choice
        slots: trials that run at the same time
        seed: seed of the random orders
        controls: let controls compete too
        format: form of the table
        figure: file of the figure
    """
    _check(results, grace, factor, orders, slots)
    loaded = [load(folder) for folder in results]
    grouped = [_is_grouped(folder) for folder in results]
    found = [group for one, by_arm in zip(loaded, grouped, strict=True) for group in groups(one, controls, by_arm)]
    if not found:
        raise InputError(_nothing(results, controls))
    table = replay(found, sorted(set(grace)) or grace_periods(found), sorted(set(factor)), orders, slots, seed)
    if table.empty:
        raise InputError(f"No trial runs past step {min(grace)}: give a smaller --grace, or longer trials.")
    print(render(table, format), end="")
    for folder, one, by_arm in zip(results, loaded, grouped, strict=True):
        lines = [] if by_arm else [f"{folder}: guided on average {'; '.join(lead_lines(one))}."]
        print(*lines, *_left_out(one), sep="\n", file=sys.stderr)
    path = figure or results[0] / names.FIGURES_FOLDER / FIGURE
    ends = longest_schedules([one for one, by_arm in zip(loaded, grouped, strict=True) if not by_arm])
    if write_or_say(path, partial(save, draw(table, ends)), "--figure FILE"):
        print(f"Figure: {path}", file=sys.stderr)


def _is_grouped(folder: Path) -> bool:
    """Whether a folder is a search in groups; kept tables, which have no run.json, are not."""
    return (folder / names.RUN_FILE).is_file() and read_record(folder).is_grouped


def _check(results: tuple[Path, ...], grace: tuple[int, ...], factor: tuple[int, ...], orders: int, slots: int) -> None:
    wrong = {
        "RESULTS: give at least one run folder": not results,
        "--grace: give steps of at least 1": any(step < 1 for step in grace),
        "--factor: give factors of at least 2": not factor or any(one < 2 for one in factor),
        "--orders: give at least 1": orders < 1,
        "--slots: give at least 1": slots < 1,
    }
    for said, is_wrong in wrong.items():
        if is_wrong:
            raise InputError(f"{said}.")


def _left_out(results: Results) -> list[str]:
    """Sentences on trials that cannot be replayed: those that ASHA stopped (mostly poor) or that did not finish."""
    states = results.trials[STATE]
    stopped, others = int((states == names.STOPPED).sum()), int(states.isin([names.FAILED, names.RUNNING]).sum())
    said = f"  {stopped} trials were stopped and are left out: replayed over the others, ASHA saves less than it would."
    unfinished = f"  {others} of {len(states)} trials failed or have not ended, and are left out."
    return [said] * (stopped > 0) + [unfinished] * (others > 0)


def _nothing(results: tuple[Path, ...], controls: bool) -> str:
    more = "run a study without ASHA" if controls else "run a study without ASHA, or add --controls"
    folders = ", ".join(map(str, results))
    return f"No two trials that ran in full share a control in {folders}, so nothing can be replayed: {more}."


def render(table: pd.DataFrame, form: Format) -> str:
    """A table as text for the terminal, CSV or Markdown."""
    if form == "csv":
        return str(table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    cells = table.apply(lambda column: column.map(_cell(str(column.name))))
    if form == "text":
        return str(cells.to_string(index=False)) + "\n"
    rows = [list(cells), ["---"] * len(cells.columns), *cells.to_numpy().tolist()]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _cell(column: str) -> Callable[[Any], str]:
    if column == ARM:
        return str
    form = {SPENT: "{:.0%}", SURVIVES: "{:.0%}", REGRET: "{:.4f}", names.GAIN: "{:+.4f}"}.get(column, "{:.0f}")
    return form.format


def lead_lines(results: Results) -> Iterator[str]:
    """Yield ranges of steps in which the guided trials are, on average, ahead of their controls or behind them."""
    table = lead(results)
    better = table[names.GAIN] > 0
    for _, stretch in table.groupby((better != better.shift()).cumsum()):
        first, last, mean = stretch[names.STEP].min(), stretch[names.STEP].max(), stretch[names.GAIN].mean()
        where = f"at step {first}" if first == last else f"at steps {first} to {last}"
        yield f"{where} {'ahead' if mean > 0 else 'behind'} by {abs(mean):.4f}"


if __name__ == "__main__":
    run_command(main, "asha_replay")
