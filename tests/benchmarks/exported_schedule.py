"""A schedule that a sweep found, in transformers' Trainer on the same text: does it reach the loss of the sweep?

    python sweeps/schedule_search.py --corpus TEXT ... --export best model
    python tests/benchmarks/exported_schedule.py RUN model [--seeds 3] [--first-seed 100] [--threads 1]

RUN is the folder of the sweep's run: text, tokens, blocks and student are those of the exported trial. Initial weights
come from seeds that the sweep did not use, and the blocks are in Trainer's own order. Schedule, teacher and rates come
only from model/schedule.json, by the ten lines of the model's card. The output has the final loss on the trial's
validation blocks (plain cross-entropy), the final losses of the sweep's seeds with the same setting, and whether the
difference of the means is within the standard deviation over the sweep's seeds.
"""

import argparse
import logging
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import torch
from record import RESULTS
from transformers import TrainingArguments

from sweeps.engine.folder import RunFolder
from sweeps.engine.provenance import provenance
from trainable import names
from trainable.config import TrialConfig, identity
from trainable.loops.found_schedule import FoundSchedule, load_schedule
from trainable.loops.guided_trainer import GuidedTrainer
from trainable.plan import placed
from trainable.prepare import prepare_run
from trainable.record.files import fingerprint, write_json
from trainable.student.evaluate import evaluate
from trainable.student.model import build_model
from trainable.student.precision import autocast_of
from trainable.student.run_data import RunData


def promised(run: RunFolder, config: TrialConfig) -> list[float]:
    """Final losses of the finished trials that differ from this trial only in the seed."""
    setting = fingerprint(identity(replace(config, seed=0)))
    same = [
        reports[-1][names.EVAL_LOSS]
        for plan, state, reports in run.trials()
        if state == names.FINISHED and fingerprint(identity(replace(plan.config, seed=0))) == setting
    ]
    return [float(loss) for loss in same]


def trained(found: FoundSchedule, config: TrialConfig, data: RunData, seed: int) -> float:
    """Final validation loss of a fresh student that a GuidedTrainer trained by the exported schedule."""
    model = build_model(config.model, vocab_size=data.train.vocab_size, context=config.tokens.context, seed=seed)
    rows = [{"input_ids": ids_T, "labels": ids_T} for ids_T in torch.from_numpy(data.train.ids_BxT.astype("int64"))]
    quiet = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "logging_strategy": "no"}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(folder, seed=seed, **found.arguments, **quiet)
        trainer = GuidedTrainer(model, arguments, train_dataset=rows, schedule=found)
        trainer.train()
    student, loop = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False), config.loop
    return evaluate(student, data.eval, loop.eval_batch_blocks, autocast_of(loop, student.device)).loss


def main() -> None:
    """Train, compare, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the sweep's run")
    parser.add_argument("model", type=Path, help="folder that --export wrote")
    parser.add_argument("--seeds", type=int, default=3, help="fresh students (3)")
    parser.add_argument("--first-seed", type=int, default=100, help="their first seed (100)")
    parser.add_argument("--threads", type=int, default=1, help="threads (1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    run, found = RunFolder.open(options.run.resolve()), load_schedule(options.model)
    plan = next(plan for plan, _, _ in run.trials() if plan.name == found.trial)
    theirs = promised(run, plan.config)
    data, _ = prepare_run(placed(plan.config, run.record().places or {}))
    ours: list[float] = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        ours.append(trained(found, plan.config, data, seed))
        print(f"seed {seed}: {ours[-1]:.4f} nats per token (the sweep promised {found.eval_loss:.4f})", flush=True)
    spread = stdev(theirs) if len(theirs) > 1 else math.nan
    difference = mean(ours) - mean(theirs)
    verdict = None if math.isnan(spread) else abs(difference) <= spread
    print(
        f"Trainer {mean(ours):.4f} over {len(ours)} seeds, the sweep {mean(theirs):.4f} over {len(theirs)}: difference "
        f"{difference:+.4f}, standard deviation over the sweep's seeds {spread:.4f}, within it: {verdict}"
    )
    said = {"study": found.study, "run": found.run, "trial": found.trial, "promised": found.eval_loss}
    kept = {"trainer": ours, "sweep": theirs, "difference": difference, "within_a_standard_deviation": verdict}
    kept["standard_deviation"] = None if math.isnan(spread) else spread
    write_json(RESULTS / "exported_schedule.json", {**provenance(), **said, **kept})


if __name__ == "__main__":
    main()
