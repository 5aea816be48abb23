"""Share of the main job's time, in the seconds of its two slots, that is neither training nor evaluation.

    python tests/benchmarks/sweep_overhead.py [--repeats 3]

The script runs `python sweeps/schedule_search.py --cpus 2` (2 trials at once, built-in corpus) as a user would type it,
with prepared data in the cache, and reads from the ledgers what each slot did at which time.

- A trial occupies its slot from the beginning of its evaluation at step 0 to its last report.
- A slot is idle while no trial is given out (while it waits for a control, or for the end of a search).
- The time from giving out a trial to its evaluation at step 0 is the trial's start.
- A row's unit is seconds of slots: a second in which both slots do nothing counts 2.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

from record import Row, compare, keep

from sweeps.schedule_search import SearchOptions, schedule_search
from trainable import names
from trainable.prepare import prepare_run
from trainable.record.ledger import read_reports

SLOTS = 2
START_LIMIT = 3.0  # seconds, of a trial that is not the first of its slot
SHARE_LIMIT = 0.15
SCRIPT = Path(__file__).resolve().parents[2] / "sweeps" / "schedule_search.py"
MARKS = {"  teacher ": "prepared", "Ray dashboard:": "ray"}  # lines that the job prints when a part is done
PARTS = (
    "training steps",
    "evaluations",
    "reports, checkpoints, batches",
    "imports, prepared data from the cache",
    "Ray start",
    "first trial of a slot: start",
    "later trials: start",
    "slots idle: nothing to give out",
    "slots idle: waiting for the last trial",
    "tables, figures, summary, Ray's end",
)
WORK = PARTS[:2]


@dataclass(frozen=True, kw_only=True)
class TrialTimes:
    """Times at which a trial was given out, began and ended, in seconds since the epoch, and its computing time."""

    given_out: float  # by the searcher; may be long before a slot is free
    begin: float  # of the evaluation at step 0
    end: float  # its last report
    train: float
    evaluation: float


@dataclass(kw_only=True)
class Spent:
    """Seconds of slots by part in one run of the job, and the start of each trial except the first of a slot."""

    parts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    starts: list[float] = field(default_factory=list)

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def run_job(results: Path, words: list[str]) -> dict[str, float]:
    """The times of beginning, marks and end of one run of the main job."""
    command = [sys.executable, "-u", str(SCRIPT), "--cpus", str(SLOTS), "--results", str(results), *words]
    times = {"begin": time.time()}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        for line in job.stdout:
            for start, mark in MARKS.items():
                if line.startswith(start):
                    times.setdefault(mark, time.time())
    times["end"] = time.time()
    assert job.returncode == 0, f"the job ended with status {job.returncode}"
    return times


def trial_times(run: Path) -> list[TrialTimes]:
    """Times of all trials of a run, sorted by their beginning."""
    return sorted((_times(path.parent) for path in run.glob(f"trials/*/{names.LEDGER_FILE}")), key=lambda t: t.begin)


def _times(folder: Path) -> TrialTimes:
    first, *_, last = read_reports(folder / names.LEDGER_FILE)
    return TrialTimes(
        given_out=(folder / names.TRIAL_FILE).stat().st_mtime,
        begin=first[names.TIMESTAMP] - first[names.EVAL_SECONDS],
        end=last[names.TIMESTAMP],
        train=last[names.TRAIN_SECONDS],
        evaluation=last[names.EVAL_SECONDS],
    )


def slots_of(trials: list[TrialTimes]) -> list[list[TrialTimes]]:
    """The trials of each slot: a trial follows the one that ended last before it began."""
    slots: list[list[TrialTimes]] = [[] for _ in range(SLOTS)]
    for trial in trials:
        free = [slot for slot in slots if not slot or slot[-1].end <= trial.begin]
        max(free, key=lambda slot: slot[-1].end if slot else 0.0).append(trial)
    return slots


def spent(times: Mapping[str, float], trials: list[TrialTimes]) -> Spent:
    """Assign every second of every slot to one part."""
    result = Spent()
    parts, last_end = result.parts, max(trial.end for trial in trials)
    for slot in slots_of(trials):
        parts["imports, prepared data from the cache"] += times["prepared"] - times["begin"]
        parts["Ray start"] += times["ray"] - times["prepared"]
        parts["tables, figures, summary, Ray's end"] += times["end"] - last_end
        if not slot:  # a job so short that its second worker came too late
            parts["slots idle: nothing to give out"] += last_end - times["ray"]
            continue
        parts["first trial of a slot: start"] += slot[0].begin - times["ray"]
        for before, trial in pairwise(slot):
            ready = min(max(before.end, trial.given_out), trial.begin)
            parts["slots idle: nothing to give out"] += ready - before.end
            parts["later trials: start"] += trial.begin - ready
            result.starts.append(trial.begin - ready)
        for trial in slot:
            parts["training steps"] += trial.train
            parts["evaluations"] += trial.evaluation
            parts["reports, checkpoints, batches"] += trial.end - trial.begin - trial.train - trial.evaluation
        parts["slots idle: waiting for the last trial"] += last_end - slot[-1].end
    return result


def measure(words: list[str]) -> Spent:
    """Run the job once, and return what it spent."""
    with tempfile.TemporaryDirectory() as results:
        times = run_job(Path(results), words)
        (run,) = Path(results).glob("*/*")
        return spent(times, trial_times(run))


def rows_of(runs: list[Spent]) -> list[Row]:
    """Rows: the share that is not work, the starts of trials, and the seconds of each part."""
    totals = [run.total for run in runs]
    overhead = [run.total - sum(run.parts[part] for part in WORK) for run in runs]
    limit = [START_LIMIT] * len(runs)
    return [
        compare("neither training nor evaluation, of all", overhead, totals, "slot-s", at_most=SHARE_LIMIT),
        compare("start of a later trial, median, of 3 s", [median(r.starts) for r in runs], limit, "s", at_most=1),
        compare("start of a later trial, longest, of 3 s", [max(r.starts) for r in runs], limit, "s", at_most=1),
        *(compare(f"  {part}", [run.parts[part] for run in runs], totals, "slot-s") for part in PARTS),
    ]


def main() -> None:
    """Warm the cache, run the job several times, keep what it spent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="runs of the job, some 3 minutes each (3)")
    parser.add_argument("job", nargs="*", help="options of the job, after --, such as -- --smoke-test; none: as typed")
    options = parser.parse_args()
    prepare_run(schedule_search(SearchOptions()).base)
    keep("sweep_overhead", rows_of([measure(options.job) for _ in range(options.repeats)]))


if __name__ == "__main__":
    main()
