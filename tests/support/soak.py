"""Many short trials in one sweep, watched from outside: what grows with their number?

    python tests/support/soak.py --trials 1000 --json soak.json

tests/outside/test_soak.py runs the same with 200. Linux only (/proc).
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from live_sweep import (
    SMALL_STUDY,
    LiveSweep,
    command_line,
    descendants,
    object_store_mib,
    open_files,
    pss_mib,
    wait_until_gone,
)

from trainable import names
from trainable.record.ledger import read_reports

ARMS = 4  # guided trials for each control
SHORT = ("--steps", "2", "--set", "loop.eval_every=2", "loop.checkpoint_every=2", "optimizer.warmup_steps=1")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The sweep's processes at one moment."""

    seconds: float  # since the start
    trials: int  # begun so far
    driver_mib: float  # proportional set size
    driver_files: int  # open descriptors
    object_store_mib: float  # memory that its file takes
    worker_mib: float  # of the largest worker, proportional set size
    worker_files: int  # of the worker with most open files
    processes: int  # driver, Ray's servers, workers


@dataclass(frozen=True, kw_only=True)
class Soak:
    """A whole run."""

    trials: int
    status: int  # exit status
    wall_seconds: float
    samples: list[Sample]  # while trials ran
    starts: list[float]  # seconds from a worker's last report of a trial to its first step of the next, in order

    def quarters(self, value: Callable[[Sample], float]) -> tuple[float, float]:
        """Medians over the second quarter of the trials (the first is a warm-up) and over the last."""
        second = [value(s) for s in self.samples if self.trials / 4 <= s.trials < self.trials / 2]
        last = [value(s) for s in self.samples if s.trials >= self.trials * 3 / 4]
        return median(second), median(last)

    def start_quarters(self) -> tuple[float, float]:
        """Median seconds of a trial's start in the first and the last quarter."""
        quarter = len(self.starts) // 4
        return median(self.starts[:quarter]), median(self.starts[-quarter:])


def soak(folder: Path, trials: int) -> Soak:
    """Run a sweep of at least `trials` trials of two steps, and watch it; fails if a process stays behind."""
    seeds = -(-trials // (ARMS + 1))
    started, samples, seen = time.monotonic(), list[Sample](), set[int]()
    with LiveSweep(SMALL_STUDY, folder, "--arms", str(ARMS), "--seeds", *map(str, range(seeds)), *SHORT) as sweep:
        while sweep.driver.poll() is None:
            processes = sweep.processes()
            seen |= processes
            if any(sweep.results.glob("*/*/trials/*")):
                samples.append(_sample(sweep, processes, time.monotonic() - started))
            time.sleep(0.5)
        status = sweep.end()
    wait_until_gone(seen)
    return Soak(
        trials=seeds * (ARMS + 1),
        status=status,
        wall_seconds=time.monotonic() - started,
        samples=[s for s in samples if s.worker_files],
        starts=_starts(sweep.run) if status == 0 else [],
    )


def _sample(sweep: LiveSweep, processes: set[int], seconds: float) -> Sample:
    commands = {pid: command_line(pid) for pid in processes}
    workers = [pid for pid, command in commands.items() if command.startswith("ray::") and "Agent" not in command]
    raylets = [pid for pid, command in commands.items() if "/raylet/raylet" in command.split(" ")[0]]
    return Sample(
        seconds=seconds,
        trials=len(list(sweep.results.glob("*/*/trials/*"))),
        driver_mib=pss_mib(sweep.driver.pid),
        driver_files=len(open_files(sweep.driver.pid)),
        object_store_mib=sum(map(object_store_mib, raylets)),
        worker_mib=max(map(pss_mib, workers), default=0.0),
        worker_files=max((len(open_files(pid)) for pid in workers), default=0),
        processes=1 + len(descendants(sweep.driver.pid)),
    )


def _starts(run: Path) -> list[float]:
    """Seconds between trials of a worker, in the order of the trials; the first trial of a worker has none.

    No record says which worker ran a trial: a trial is taken to follow the one that ended last before it began.
    """
    times = sorted(_begin_and_end(file) for file in run.glob(f"trials/*/{names.LEDGER_FILE}"))
    ends, gaps = list[float](), list[float]()
    for begin, end in times:
        before = max((other for other in ends if other <= begin), default=None)
        if before is not None:
            ends.remove(before)
            gaps.append(begin - before)
        ends.append(end)
    return gaps


def _begin_and_end(ledger: Path) -> tuple[float, float]:
    first, *_, last = read_reports(ledger)
    return first[names.TIMESTAMP] - first[names.EVAL_SECONDS], last[names.TIMESTAMP]


MEASURES: dict[str, Callable[[Sample], float]] = {
    "driver, MiB": lambda s: s.driver_mib,
    "driver, open files": lambda s: s.driver_files,
    "object store, MiB": lambda s: s.object_store_mib,
    "largest worker, MiB": lambda s: s.worker_mib,
    "worker, open files": lambda s: s.worker_files,
    "processes": lambda s: s.processes,
}


def table(run: Soak) -> str:
    """Table of the second quarter of the trials against the last."""
    lines = [f"{run.trials} trials, {run.wall_seconds:.0f} s, exit status {run.status}; no process stayed behind"]
    lines += [f"{'median':<24}{'2nd quarter':>12}{'last quarter':>14}"]
    for name, value in MEASURES.items():
        second, last = run.quarters(value)
        lines.append(f"{name:<24}{second:>12.2f}{last:>14.2f}")
    first, last = run.start_quarters()
    lines.append(f"{'start of a trial, s':<24}{first:>12.3f}{last:>14.3f}  (first quarter, last)")
    return "\n".join(lines)


def keep(run: Soak, path: Path) -> None:
    """Write all samples and start times as JSON."""
    path.write_text(json.dumps(asdict(run), indent=1), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print the table, keep the samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200, help="trials of two steps (200)")
    parser.add_argument("--json", type=Path, default=None, help="where samples and start times go")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        run = soak(Path(folder), options.trials)
    print(table(run))
    if options.json is not None:
        keep(run, options.json)


if __name__ == "__main__":
    main()
