"""Savings and losses of ASHA and TPE against the full grid: trial-steps, and the gain of the schedule that they choose.

    python tests/benchmarks/asha_savings.py                    # the books: the grid (10 minutes), a search, replays
    python tests/benchmarks/asha_savings.py --corpus builtin
    python tests/benchmarks/asha_savings.py --grid results/schedule_search/<run>  # run before, with the same options

There are 48 schedules of the bigram teacher, at one depth and one learning rate; a search tries a third of them. The
real command line runs the whole grid, and the grid's best schedule again on fresh seeds. A search may lose as much gain
as the standard deviation over these seeds.

A trial's curve is a function of its settings, so searches with other search seeds need no training: the real searcher
and the real ASHA are told the grid's curves, two trials at a time and one given out ahead, as Tune does it. One search
is also run for real, to show that its curves equal the grid's and that the replay is right.
"""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, stdev
from types import SimpleNamespace
from typing import Any

import pandas as pd
from record import Row, compare, keep

from analysis.results import load
from sweeps.engine.folder import RunFolder
from sweeps.engine.order.asha import GroupAsha
from sweeps.engine.order.search import SearchOrder
from sweeps.engine.specs.search import Search, Sweep
from sweeps.schedule_search import SearchOptions, asha_of
from trainable import names
from trainable.plan import TrialPlan

ROOT = Path(__file__).resolve().parents[2]
BOOKS = ROOT.parent / "shared" / "data" / "books" / "books.parquet"
SETTING = (
    "--layers 1 --train-rows 20000 --eval-rows 500 --steps 96 --schedules linear exponential reciprocal "
    "--schedule-steps 12 48 12 --min-weight 0 0.6 0.2 --teachers bigram --rates 3e-3 --warmup-steps 10"
)
SLOTS = 2
SHARE_LIMIT = 0.35  # a search may take this share of the grid's trial-steps

Report = dict[str, Any]
Curves = dict[str, list[Report]]  # of each trial by name: step, eval_loss, gain


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of a search: the last step of each trial, and the schedule that the search chose."""

    steps: dict[str, int]
    chosen: str

    @property
    def trial_steps(self) -> int:
        return sum(self.steps.values())


# ---- real runs, by the command line --------------------------------------------------------------------------------


def run_study(results: Path, words: list[str]) -> Path:
    """Run the main study with these options, and return its run folder."""
    before = set(results.glob("*/*"))
    command = [sys.executable, str(ROOT / "sweeps" / "schedule_search.py"), "--results", str(results), *words]
    subprocess.run(command, check=True)
    (run,) = set(results.glob("*/*")) - before
    return run


def outcome_of(run: Path) -> Outcome:
    """Outcome of a real run: last steps of the trials on the search's seed, and the finished trial of largest gain."""
    trials = load(run).trials
    own = trials[trials["seed"] == RunFolder.open(run).spec().base.seed]
    ended = own[(own["role"] == names.SEARCH) & (own["state"] == names.FINISHED)]
    return Outcome(
        steps={row.trial: int(row.step) for row in own.itertuples()},
        chosen=str(ended.loc[ended[names.GAIN].idxmax(), "trial"]),
    )


def curves_of(run: Path) -> Curves:
    """The reports of each trial of a real run."""
    columns = [names.STEP, names.EVAL_LOSS, names.GAIN]
    return {str(name): rows[columns].to_dict("records") for name, rows in load(run).curves.groupby("trial")}


def confirmed_gains(run: Path) -> list[float]:
    """Final gains of the best schedule on seeds that had no part in its choice."""
    trials: pd.DataFrame = load(run).trials
    return [float(gain) for gain in trials.loc[trials["role"] == names.CONFIRM, names.GAIN]]


# ---- searches replayed over the grid's curves ----------------------------------------------------------------------


def search_spec(grid: Sweep, search: Search, search_seed: int) -> Sweep:
    """A third of the grid's schedules, with ASHA as the study would set it."""
    return replace(
        grid,
        search=search,
        num_samples=grid.arms[1].size // 3,
        search_seed=search_seed,
        arms=tuple(replace(arm, seeds=()) for arm in grid.arms),
        asha=asha_of(SearchOptions(), grid.base.loop),
    )


def replay(sweep: Sweep, curves: Curves, path: Path) -> Outcome:
    """Run the sweep with recorded curves instead of training: SLOTS trials advance in turn, one more is given out."""
    assert sweep.asha is not None
    path.mkdir()
    folder = RunFolder.at(path)
    asha = GroupAsha(sweep.asha, sweep.base.loop.steps, folder.files)
    search = SearchOrder(sweep, folder, {}, asha.has_stopped, lambda: SLOTS)
    given: dict[str, tuple[TrialPlan, list[Report]]] = {}  # Tune's id -> plan, reports to come; oldest first
    steps: dict[str, int] = {}
    while not search.exhausted:
        while len(given) <= SLOTS and isinstance(config := search.suggest(f"id{len(steps)}"), dict):
            plan = TrialPlan.from_dict(config["plan"])
            given[f"id{len(steps)}"], steps[plan.name] = (plan, list(curves[plan.name])), 0
        for trial_id, (plan, reports) in list(given.items())[:SLOTS]:
            report = reports.pop(0)
            steps[plan.name] = report[names.STEP]
            if advance(search, asha, trial_id, plan, report):
                del given[trial_id]
    best = search._groups[sweep.groups[1].key].best()
    assert best is not None
    return Outcome(steps=steps, chosen=best.name)


def advance(search: SearchOrder, asha: GroupAsha, trial_id: str, plan: TrialPlan, report: Report) -> bool:
    """Tell searcher and ASHA of a report as Tune does, and return whether the trial has ended."""
    trial: Any = SimpleNamespace(config={"plan": plan.to_dict()})
    last = report[names.STEP] == plan.config.loop.steps
    if not last and asha.on_trial_result(None, trial, report) == "CONTINUE":
        search.on_trial_result(trial_id, report)
        return False
    search.on_trial_complete(trial_id, report)
    return True


def replays(grid: Sweep, curves: Curves, search: Search, seeds: int) -> list[Outcome]:
    """Replay searches of several search seeds."""
    with tempfile.TemporaryDirectory() as folder:
        return [replay(search_spec(grid, search, seed), curves, Path(folder) / f"{seed}") for seed in range(seeds)]


# ---- the answer ----------------------------------------------------------------------------------------------------


def rows_of(grid_run: Path, real_run: Path, seeds: int) -> list[Row]:
    """Rows of trial-steps against the grid's, and of the gain lost against one standard deviation over seeds."""
    grid, curves, sweep = outcome_of(grid_run), curves_of(grid_run), RunFolder.open(grid_run).spec()
    searched = RunFolder.open(real_run).spec()
    same = [(spec.base, [arm.space for arm in spec.arms]) for spec in (searched, sweep)]
    assert same[0] == same[1], "the grid was run with other options"
    real, spread = outcome_of(real_run), stdev(confirmed_gains(grid_run))
    gain = {name: reports[-1][names.GAIN] for name, reports in curves.items()}
    found = replays(sweep, curves, "optuna", seeds)
    blind = replays(sweep, curves, "random", seeds)
    say_whether_true(real, found[0], curves_of(real_run), curves)
    print(f"grid's best: {grid.chosen} {gain[grid.chosen]:+.4f}; searches chose {[o.chosen for o in found]}")

    def regret(outcome: Outcome) -> float:
        return float(gain[grid.chosen] - gain[outcome.chosen])

    def share(case: str, outcomes: list[Outcome], limit: float | None = SHARE_LIMIT) -> Row:
        whole = [float(grid.trial_steps)] * len(outcomes)
        return compare(case, [float(o.trial_steps) for o in outcomes], whole, "trial-steps", at_most=limit)

    def lost(case: str, outcomes: list[Outcome], limit: float | None = 1.0) -> Row:
        return compare(case, [regret(o) for o in outcomes], [spread] * len(outcomes), "nats", at_most=limit)

    return [
        share(f"TPE with ASHA, {seeds} search seeds, of the full grid", found),
        share("  search seed 0, run for real", [real]),
        lost("gain lost to the grid's best, of one seed sd", found),
        lost("  search seed 0, run for real", [real]),
        *(lost(f"  search seed {seed}", [outcome]) for seed, outcome in enumerate(found)),
        lost(f"random search with ASHA, {seeds} search seeds, of one seed sd", blind, None),
        share("  of the full grid", blind, None),
    ]


def say_whether_true(real: Outcome, replayed: Outcome, ran: Curves, recorded: Curves) -> None:
    """Say how the real search and its replay differ: losses of the same trials, trials proposed, last steps."""
    apart = [
        abs(a[names.EVAL_LOSS] - b[names.EVAL_LOSS])
        for name in ran.keys() & recorded.keys()
        for a, b in zip(ran[name], recorded[name], strict=False)
    ]
    both = real.steps.keys() & replayed.steps.keys()
    alike = sum(real.steps[name] == replayed.steps[name] for name in both)
    print(
        f"real search and grid: losses of the same trials differ by {max(apart):.2g} nats at most, {median(apart):.2g}"
    )
    print(f"real search and replay: {len(both)} of {len(real.steps)} trials the same, {alike} with the same last step")


def main() -> None:
    """Run the grid unless it is given, and one search; replay searches; keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default=str(BOOKS) if BOOKS.exists() else "builtin", help="books, else builtin")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="where the runs go (results)")
    parser.add_argument("--grid", type=Path, help="a grid run before, in place of a new one")
    parser.add_argument("--search-seeds", type=int, default=10, help="searches replayed (10)")
    parser.add_argument("more", nargs="*", help="further options of both runs, after --")
    options = parser.parse_args()
    words = ["--corpus", options.corpus, *SETTING.split(), *options.more]
    grid_words = ["--search", "grid", "--no-asha", "--confirm-seeds", "1", "2", "3", "4"]
    grid_run = options.grid or run_study(options.results, [*words, *grid_words])
    samples = search_spec(RunFolder.open(grid_run).spec(), "optuna", 0).num_samples
    real_run = run_study(options.results, [*words, "--num-samples", str(samples), "--confirm-seeds"])
    keep("asha_savings", rows_of(grid_run, real_run, options.search_seeds))


if __name__ == "__main__":
    main()
