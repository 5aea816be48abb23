"""Results of the plain loop of trainable/README.md and of GuidedTrainer, on all ranks of torchrun or in one process.

torchrun --nproc_per_node 2 tests/support/loops_on_ranks.py FOLDER      # has table.ngrams; gets found-2.pt
"""

import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

import trainable
from trainable.config import TeacherConfig

PAGE = Path(trainable.__file__).with_name("README.md").read_text(encoding="utf-8")
LOW = 'torch.autocast("cpu", torch.bfloat16)'  # its rounding depends on how a batch is cut
RANK, SIZE = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def examples(language: str) -> list[str]:
    """Code blocks of the page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def plain_loop(table: Any) -> dict[str, Tensor]:
    """Weights after the page's own loop, each rank with its share of the rows of a micro-batch."""
    ids_BxT = np.random.default_rng(1).zipf(1.3, (320, 12)) % (table.vocab_size - 1)
    [text] = [text for text in examples("python") if "def learn" in text]
    assert LOW in text
    names: dict[str, Any] = {"trainable": trainable, "table": table, "blocks": SimpleNamespace(ids_BxT=ids_BxT)}
    trained_alone = text.replace("trainable.BigramTeacher(table)", "trainable.NgramTeacher(table)")
    exec(compile(trained_alone.replace(LOW, "torch.autograd.grad_mode.set_grad_enabled(True)"), "page", "exec"), names)
    torch.manual_seed(3)
    student = names["Student"](table.vocab_size)
    model = DistributedDataParallel(student) if SIZE > 1 else student
    optimizer = torch.optim.SGD(student.parameters(), lr=0.5)
    shares = names["batches"][:, :, RANK::SIZE]
    list(names["learn"](model, student.head.weight, trainable.NgramTeacher(table), optimizer, shares))
    return {name: value.detach() for name, value in student.state_dict().items()}


def trainer(table: Any, folder: Path) -> tuple[list[float], dict[str, Tensor]]:
    """(Logged losses, weights) of a GuidedTrainer whose rows have unequal numbers of targets."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=table.vocab_size, **sizes))
    ids_BxT = torch.from_numpy(np.random.default_rng(2).zipf(1.3, (64, 12)) % (table.vocab_size - 1))
    labels_BxT = ids_BxT.clone()
    for number, row_T in enumerate(labels_BxT):
        row_T[: number % 9] = -100
    arguments = TrainingArguments(
        str(folder / f"trained-{SIZE}"),
        max_steps=8,
        per_device_train_batch_size=4 // SIZE,
        gradient_accumulation_steps=2,
        train_sampling_strategy="sequential",
        learning_rate=0.5,
        optim="sgd",
        logging_steps=1,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    guided = trainable.GuidedTrainer(
        model,
        arguments,
        train_dataset=[{"input_ids": ids, "labels": labels} for ids, labels in zip(ids_BxT, labels_BxT, strict=True)],
        schedule=TeacherConfig(schedule="linear", steps=6),
        teacher=table,
    )
    guided.train()
    losses = [row["loss"] for row in guided.state.log_history if "loss" in row]
    return losses, {name: value.detach() for name, value in model.state_dict().items()}


def main(folder: Path) -> None:
    """Run both loops; the first rank writes the results."""
    torch.set_num_threads(1)
    table = trainable.load_ngrams(folder / "table.ngrams")
    losses, weights = trainer(table, folder)  # sets up the ranks
    assert (distributed.get_world_size() if SIZE > 1 else 1) == SIZE
    found = {"losses": losses, "trainer": weights, "plain": plain_loop(table)}
    if RANK == 0:
        torch.save(found, folder / f"found-{SIZE}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
