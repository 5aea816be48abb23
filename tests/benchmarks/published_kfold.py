"""The published k-fold on one GPU without Ray: 5 folds x {none, bigram, uniform}. Writes a run folder as sweeps do.

    python tests/benchmarks/published_kfold.py books.parquet results/kfold/gpu   # some 6 minutes on an H200
    python tests/benchmarks/published_kfold.py builtin results/kfold/small --small
    python -m analysis.summary results/kfold/gpu

This script is for a GPU machine that has torch and transformers, but not Ray, Optuna and datasets. The corpus is read
whole: the first 1,000,000 rows of each training fold train, 10,000 rows of each validation fold validate. Every fold
trains its own tokenizer. Both teachers' weights fall linearly to 0 over 240 of 588 steps.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweeps.engine.provenance import provenance
from sweeps.engine.settings import SMALL_LLAMA2, SMOKE
from sweeps.engine.specs.comparison import Arm, Comparison, grid, paired_plans
from trainable import names
from trainable.config import override
from trainable.plan import TrialPlan, data_key, table_key
from trainable.prepare import prepare_run
from trainable.record.files import write_json
from trainable.record.ledger import append_row, read_reports
from trainable.record.run_record import RunRecord
from trainable.record.trial_files import write_status
from trainable.student.train import Report, train

QUESTION = "Does the gain hold on text that neither teacher nor student has seen, fold by fold?"
FOLDS = 5


def comparison(corpus: str, small: bool) -> Comparison:
    """The control, the bigram and the uniform teacher on each fold."""
    published = {
        "corpus.source": corpus,
        "corpus.folds": FOLDS,
        "corpus.eval_rows": 10_000,
    }
    base = override(SMALL_LLAMA2, published | (SMOKE | {"model.name": "tiny"} if small else {}))
    linear = {"teacher.schedule": "linear", "teacher.steps": base.loop.steps * 240 // 588}
    arms = [Arm("linear 240", linear), Arm("uniform, linear 240", linear | {"teacher.kind": "uniform"})]
    units = grid(base, {"corpus.fold": range(FOLDS), "seed": (0,)})
    return Comparison(study="kfold", question=QUESTION, base=base, plans=paired_plans(units, lambda unit: arms))


def by_fold(spec: Comparison, fold: int) -> list[TrialPlan]:
    """The trials of a fold, the control first."""
    plans = [plan for plan in spec.plans if plan.config.corpus.fold == fold]
    return sorted(plans, key=lambda plan: plan.role != names.CONTROL)


def run_fold(run: Path, plans: Sequence[TrialPlan]) -> list[dict[str, Any]]:
    """Train the trials of a fold, and return the facts of each trial's data."""
    facts = []
    for plan in plans:
        data, facts_here = prepare_run(plan.config)
        folder = run / names.TRIALS_FOLDER / plan.name
        control = {} if plan.role == names.CONTROL else losses_of(run / names.TRIALS_FOLDER / plan.control)
        write_trial(folder, plan)

        def report(row: Report, folder: Path = folder, control: dict[int, float] = control) -> None:
            append_row(folder / names.LEDGER_FILE, ledger_row(row, control))

        train(plan.config, data, report)
        write_status(folder, names.FINISHED)
        last = read_reports(folder / names.LEDGER_FILE)[-1]
        print(f"{plan.name}: {last[names.EVAL_LOSS]:.4f}, {last[names.TRAIN_SECONDS]:.1f} s", flush=True)
        facts.append(facts_here)
    return facts


def write_trial(folder: Path, plan: TrialPlan) -> None:
    """Write trial.json, the plan of a trial."""
    folder.mkdir(parents=True)
    write_json(folder / names.TRIAL_FILE, plan.to_dict())


def losses_of(folder: Path) -> dict[int, float]:
    """{step: validation loss} of a trial."""
    return {row[names.STEP]: row[names.EVAL_LOSS] for row in read_reports(folder / names.LEDGER_FILE)}


def ledger_row(report: Report, control: dict[int, float]) -> Report:
    """A report with its gain over the control; 0 for a control."""
    step = report[names.STEP]
    gain = control[step] - report[names.EVAL_LOSS] if control else 0.0
    return {name: (report | {names.GAIN: gain})[name] for name in names.REPORT_COLUMNS}


def record(run: Path, spec: Comparison, facts: dict[str, dict[str, Any]], seconds: float) -> RunRecord:
    """The content of run.json. facts: the facts of each trial's data, by the trial's name."""
    tables = {}
    for plan in spec.plans:
        ours = facts[plan.name]
        if plan.role != names.CONTROL:
            more = {"blocks": data_key(plan.config), "tokenizer": ours["tokenizer"]["fingerprint"]}
            tables[table_key(plan.config)] = ours["teacher"] | more
    head = {"study": spec.study, "run": run.name, "spec": spec.to_dict(), "tables": tables}
    first = next(facts[plan.name] for plan in spec.plans if plan.role != names.CONTROL)
    made = RunRecord.from_dict({**first, **provenance(), **head})
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    return replace(made, created=ended, ended=ended, wall_seconds=seconds, complete=True)


def main() -> None:
    """Prepare all folds side by side, train them one after another, write run.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="a .parquet, .jsonl or .txt file, or builtin")
    parser.add_argument("run", type=Path, help="run folder to make")
    parser.add_argument("--small", action="store_true", help="the whole path in little, on a CPU")
    parser.add_argument("--prepare", type=int, help=argparse.SUPPRESS)  # a fold, in a process of its own
    options = parser.parse_args()
    spec = comparison(options.corpus, options.small)
    if options.prepare is not None:
        for plan in by_fold(spec, options.prepare):
            prepare_run(plan.config)
        return
    options.run.mkdir(parents=True)
    started = time.time()
    folds = range(FOLDS)
    preparing = [subprocess.Popen([sys.executable, *sys.argv, "--prepare", str(fold)]) for fold in folds]
    facts: dict[str, dict[str, Any]] = {}
    for fold, process in zip(folds, preparing, strict=True):
        if process.wait():
            sys.exit(f"fold {fold} could not be prepared")
        plans = by_fold(spec, fold)
        facts |= zip((plan.name for plan in plans), run_fold(options.run, plans), strict=True)
    made = record(options.run, spec, facts, time.time() - started)
    write_json(options.run / names.RUN_FILE, made.with_own_names(Path.cwd()).to_dict())


if __name__ == "__main__":
    main()
