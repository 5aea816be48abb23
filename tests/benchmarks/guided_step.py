"""What a guided optimizer step costs beside a plain one: the same model, batches and machine, measured in turn.

    python tests/benchmarks/guided_step.py [--repeats 7]

Built-in corpus, `tiny` model, one thread (a trial's share of the main job). Each measurement is the mean of a short
run of `train` with its evaluations left out; plain and guided alternate, and the ratio is taken pair by pair.
"""

import argparse

import torch
from record import Row, compare, keep

from sweeps.engine.settings import TINY
from trainable.config import TrialConfig, override
from trainable.names import TRAIN_SECONDS
from trainable.prepare import prepare_run
from trainable.train import Report, RunData, train

GUIDED = {"teacher.schedule": "linear", "teacher.min_weight": 0.5}  # the teacher never ends


def milliseconds(config: TrialConfig, data: RunData) -> float:
    """Of one optimizer step: the run less its first step, which also allocates."""
    seconds: list[float] = []

    def book(report: Report) -> None:
        seconds.append(report[TRAIN_SECONDS])

    train(config, data, book)
    _, first, last = seconds
    return (last - first) / (config.loop.steps - config.loop.eval_every) * 1000


def measure(vocabulary: int, layers: int, blocks: int, steps: int, repeats: int) -> Row:
    """One case: `blocks` blocks of 128 tokens a step."""
    changes = {
        "tokens.tokenizer": f"train:{vocabulary}",
        "corpus.eval_rows": 20,
        "model.layers": layers,
        "loop.steps": 2 * steps,
        "loop.eval_every": steps,
        "loop.checkpoint_every": steps,
        "loop.batch_blocks": min(blocks, 32),
        "loop.accumulation": max(1, blocks // 32),
    }
    plain = override(TINY, changes)
    guided = override(plain, {**GUIDED, "teacher.steps": 1})
    data, _ = prepare_run(plain)
    pairs = [(milliseconds(guided, data), milliseconds(plain, data)) for _ in range(repeats)]
    ours, against = map(list, zip(*pairs, strict=True))
    target = 1.05 if blocks * 128 >= 16_384 else 1.10
    case = f"V {vocabulary}, {layers} layer{'s' * (layers > 1)}, {blocks * 128} tokens a step"
    return compare(case, ours, against, "ms a step", at_most=target)


def main() -> None:
    """Run all cases and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="pairs a case (7)")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    cases = [(v, 1, blocks) for v in (4096, 8192) for blocks in (8, 32, 128)]  # depth only lowers the ratio
    keep("guided_step", [measure(v, n, blocks, max(1, 32 // blocks) * 2, repeats) for v, n, blocks in cases])


if __name__ == "__main__":
    main()
