"""Texts that `python -m trainable.teacher` prints about a table: size, own loss, cost of a step, and use."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch

from trainable.config import TrialConfig, override
from trainable.errors import first_line
from trainable.record.files import mib
from trainable.student.precision import resolved
from trainable.student.run_data import RunData
from trainable.student.step_cost import StepCost, step_cost
from trainable.student.train import pick_device
from trainable.teacher.ngram_table import NgramTable
from trainable.teacher.table import BigramTable

STEP_TOKENS: Final = 4096  # approximate number of tokens of the measured step
NOISY: Final = 1.5  # greatest ratio of the pairs / least ratio: above this the measurement is called noisy


def size_words(data: RunData, path: Path) -> str:
    """Number of n-grams of each order in the table, its size on disk, and the text that was counted."""
    table = data.table
    assert isinstance(table, BigramTable | NgramTable)
    kept = [len(level.columns) for level in table.levels] if isinstance(table, NgramTable) else [len(table.values)]
    words = [f"{number:,} {'bigrams' if order == 2 else f'{order}-grams'}" for order, number in enumerate(kept, 2)]
    return (
        f"{', '.join(words)}, {mib(path.stat().st_size)} MiB; counted on {table.counted_tokens:,} tokens of "
        f"{data.train.rows:,} rows, with a vocabulary of {table.vocab_size:,}, {table.smoothing}"
    )


def loss_line(facts: dict[str, Any], data: RunData) -> str:
    """Sentence on the table's own loss on the held-out rows."""
    teacher = facts["teacher"]
    where = f"Its own loss on {facts['corpus']['eval_rows']:,} rows that were not counted"
    nothing = f"a uniform table would have {math.log(data.train.vocab_size):.4f}"
    if (loss := teacher["eval_loss"]) is not None:
        return f"{where}: {loss:.4f} nats per token (perplexity {math.exp(loss):,.1f}); {nothing}."
    smoothed = teacher["kneser_ney_loss"]
    instead = "" if smoothed is None else f"; --smoothing modified_kneser_ney would have {smoothed:.4f} nats per token"
    return f"{where} is infinite, because {teacher['smoothing']} gives unseen pairs no probability{instead}; {nothing}."


def cost_line(config: TrialConfig, data: RunData) -> str:
    """Sentence on the cost of a guided step on this machine, or on the error that kept it from being measured."""
    blocks = min(len(data.train.ids_BxT), max(1, STEP_TOKENS // config.tokens.context))
    try:
        return cost_words(step_cost(override(config, {"loop.batch_blocks": blocks}), data), config)
    except Exception as error:
        return f"The cost of a guided step could not be measured ({first_line(error)})."


def cost_words(cost: StepCost, config: TrialConfig) -> str:
    """Sentence that states a measured cost."""
    device = pick_device(config.loop).type
    where = f"{torch.get_num_threads()} threads" if device == "cpu" else device
    is_noisy = cost.ratio_high > NOISY * cost.ratio_low
    noise = " The pairs differ too much: measure again when no other work runs on the machine." if is_noisy else ""
    return (
        f"A guided step takes {cost.ratio:.2f} times as long as a plain one ({cost.ratio_low:.2f} to "
        f"{cost.ratio_high:.2f} in {cost.pairs} pairs), which takes {1000 * cost.plain:,.0f} ms: the student "
        f"{config.model.name} of {config.model.layers} layer, {cost.tokens:,} tokens a step, in "
        f"{resolved(config).loop.precision} on {where} of this machine.{noise}"
    )


def use_lines(out: Path) -> Iterator[str]:
    """Lines that show how to use the file."""
    yield 'To teach with it (trainable/README.md, "A loop of your own"):'
    yield "  import trainable"
    yield f"  teacher = trainable.load_teacher({str(out)!r})"
    yield "  guidance = teacher.guide(output_VxD, context, weight)  # once an optimizer step"
