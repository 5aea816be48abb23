"""A small model as teacher: trained once for all trials, then asked once about every training block.

The student's own loop trains the model on the student's training rows, without a teacher. The answer at a position is
the list of its likeliest next tokens (teacher/answers.py). Model, answers and losses are kept in the cache, with the
seconds that training and asking took. After an interruption training goes on at its last checkpoint, and asking at its
last shard.

This module stands above student/ and teacher/: it trains the model with the one, and hands the answers to the other.

    B blocks   T positions of a block   k tokens kept   V vocabulary   N positions
"""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from trainable import names
from trainable.config import LoopConfig, TrialConfig, identity
from trainable.errors import InputError, TrainingDiverged
from trainable.plan import WATCHED_BLOCKS, teacher_run
from trainable.record.cache import ROOM_HINT, Manifest, built_once
from trainable.record.files import fingerprint, require_room, user_path
from trainable.record.run_record import model_in_words
from trainable.student.batches import count_targets, make_batch
from trainable.student.checkpoint import load_checkpoint
from trainable.student.given_model import folder_fingerprint, given_model
from trainable.student.memory import free_gpu_memory
from trainable.student.model import build_model
from trainable.student.output_layer import IGNORE_INDEX
from trainable.student.precision import autocast_of
from trainable.student.run_data import RunData
from trainable.student.train import Report, pick_device, train
from trainable.student.unigram import log_unigram
from trainable.teacher.answers import ANSWER_FILE, LEAST_RESIDUAL, Answers, kept, load_answers
from trainable.teacher.build import count
from trainable.teacher.smoothing import estimate_table
from trainable.teacher.table import BigramTable, arrays_of, column_dtype, file_facts, probabilities
from trainable.text.blocks import TokenBlocks
from trainable.text.shards import Arrays, Shard, ShardMaker, progress_bar
from trainable.text.tokenizer.tokenizer import TextTokenizer
from trainable.text.workers import LOCAL

FORMAT: Final = 2  # raise it when the same settings give another model, other answers or other losses
TRUNCATIONS: Final = (8, 16, 32, 64)  # numbers of kept tokens for which run.json has the loss, beside top_k
# Bytes of the float32 logits of a batch that the model is asked about. On a CPU with 32 MiB, each batch gets new pages
# from the system, and asking takes 1.4 times as long in bfloat16 (V 8,192; AMD EPYC).
LOGITS_BYTES: Final = {"cpu": 8 << 20, "cuda": 512 << 20}
SHARD_POSITIONS: Final = 1 << 18

_MODEL_FILE, _ANSWERS_FILE = "checkpoint.pt", "answers.bin"
_IDS, _PROBABILITIES, _SECONDS = "ids", "probabilities", "seconds"  # files of a shard


class SmallTeacher:
    """The teacher model of a config, for one set of training blocks."""

    def __init__(self, config: TrialConfig, blocks: TokenBlocks, tokenizer: TextTokenizer, cache: Path) -> None:
        self._settings, self._run = config.teacher.model, teacher_run(config)
        self._blocks, self._tokenizer, self._cache = blocks, tokenizer, cache
        self._top_k = min(self._settings.top_k, tokenizer.vocab_size)
        folder = self._settings.folder
        made = folder_fingerprint(user_path(folder)) if folder else [blocks.fingerprint, identity(self._run)]
        loop = self._run.loop
        self._asked = [FORMAT, made, tokenizer.fingerprint, blocks.fingerprint, loop.precision, loop.device]

    def answers(self) -> Answers:
        """Return the answers of the model to all training blocks, from the cache or made now.

        Raises InputError if the disk has no room for them, training diverges, or a given model does not fit.
        """
        folder = self._answers_folder
        built_once(folder, self._ask)
        shutil.rmtree(self._shards, ignore_errors=True)
        return load_answers(folder / _ANSWERS_FILE, self._tokenizer.fingerprint)

    def facts(self, held_out: TokenBlocks) -> dict[str, Any]:
        """Losses of the model on validation blocks and its seconds, with keys of record.run_record.TeacherFacts."""
        folder = self._cache / "teacher_losses" / fingerprint([*self._asked, self._top_k, held_out.fingerprint])
        losses = built_once(folder, lambda into: {"losses": self._losses(held_out)})["losses"]
        if self.__dict__.pop("_model", None) is not None:
            free_gpu_memory()  # the model is not used any more
        return {
            "eval_loss": losses["own"],
            "truncated_losses": {k: loss for k, loss in losses.items() if k != "own"},
            "train_seconds": 0.0 if self._settings.folder else self._trained["seconds"],
            "answer_seconds": built_once(self._answers_folder, self._ask)["seconds"],
        }

    # --- the model ----------------------------------------------------------------------------------------------------

    @cached_property
    def _trained(self) -> Manifest:
        """Manifest of the folder of the model, which is trained if it is not in the cache."""
        manifest = built_once(self._model_folder, self._train)
        self._checkpoint.unlink(missing_ok=True)
        return manifest

    @property
    def _model_folder(self) -> Path:
        return self._cache / "teachers" / fingerprint(self._asked)

    @property
    def _checkpoint(self) -> Path:
        """File from which interrupted training goes on."""
        return self._model_folder.with_name(f"{self._model_folder.name}.{_MODEL_FILE}")

    def _train(self, into: Path) -> Manifest:
        """Train the model, and keep its last checkpoint."""
        run, width = self._run, self._blocks.ids_BxT.shape[1]
        few = min(WATCHED_BLOCKS, len(self._blocks.ids_BxT))
        watched = replace(
            self._blocks,
            ids_BxT=self._blocks.ids_BxT[:few],
            stream_N=self._blocks.stream_N[: few * width],
            lengths_B=None if self._blocks.lengths_B is None else self._blocks.lengths_B[:few],
        )
        last: Report = {}
        with progress_bar("training the teacher", run.loop.steps) as advance, torch.random.fork_rng(devices=[]):

            def hear(report: Report) -> None:
                advance(report[names.STEP] - last.get(names.STEP, 0))
                last.update(report)

            try:
                train(run, RunData(train=self._blocks, eval=watched), hear, self._checkpoint)
            except TrainingDiverged as error:
                self._checkpoint.unlink(missing_ok=True)
                raise InputError(
                    f"the teacher of kind model diverged at step {error.step}: lower teacher.model.lr from "
                    f"{self._settings.lr:.3g}."
                ) from None
        shutil.copyfile(self._checkpoint, into / _MODEL_FILE)
        return {"asked": self._asked, "seconds": last[names.TRAIN_SECONDS], "tokens": last[names.TOKENS]}

    @cached_property
    def _model(self) -> torch.nn.Module:
        """The trained model in evaluation mode, on the device of the loop."""
        model: torch.nn.Module
        vocab_size, context = self._tokenizer.vocab_size, self._run.tokens.context
        if self._settings.folder:
            model = given_model(user_path(self._settings.folder), self._tokenizer, context)
        else:
            _ = self._trained
            _, parts = load_checkpoint(self._model_folder / _MODEL_FILE, fingerprint(identity(self._run)))
            model = build_model(
                self._run.model,
                vocab_size=vocab_size,
                context=context,
                seed=self._run.seed,
                unigram_V=log_unigram(self._blocks),
            )
            model.load_state_dict(parts["model"])
        return model.to(pick_device(self._run.loop)).eval()

    @property
    def _name(self) -> str:
        """Description of the model in words."""
        return model_in_words(self._settings.layers, self._settings.hidden, self._settings.folder)

    # --- answers ------------------------------------------------------------------------------------------------------

    @property
    def _answers_folder(self) -> Path:
        return self._cache / "answers" / fingerprint([*self._asked, self._top_k])

    @property
    def _shards(self) -> Path:
        return self._answers_folder.with_name(f"{self._answers_folder.name}.shards")

    def _ask(self, into: Path) -> Manifest:
        """Ask the model about all training blocks, shard by shard, and join the shards in one file."""
        blocks, width, vocab_size = len(self._blocks.ids_BxT), self._top_k, self._tokenizer.vocab_size
        positions = self._blocks.ids_BxT.shape[1] - 1
        nbytes = blocks * positions * width * (column_dtype(vocab_size).itemsize + 2)
        require_room(
            self._cache, 2 * nbytes, "the answers of the teacher", f"lower teacher.model.top_k, or {ROOM_HINT}"
        )
        tokens = 0 if self._settings.folder else self._trained["tokens"]

        # 1 make the shards; each stays on disk
        step = max(1, SHARD_POSITIONS // positions)
        spans = [(first, min(first + step, blocks)) for first in range(0, blocks, step)]
        shards = (Shard(f"{first}-{last}", last - first, (first, last), {}) for first, last in spans)
        with progress_bar("asking the teacher", blocks) as advance:
            paths = ShardMaker(self._shards, LOCAL, advance).make(shards, self._answered, blocks)

        # 2 join them in one file
        facts = {
            "shape": (blocks, positions, width),
            "parent": file_facts(self._parent),
            "vocab_size": vocab_size,
            "model": self._name,
            "tokenizer_fingerprint": self._tokenizer.fingerprint,
            "blocks_fingerprint": self._blocks.fingerprint,
            "counted_tokens": tokens,
        }

        def pieces() -> Iterator[np.ndarray]:
            yield from arrays_of(self._parent)
            for name, dtype in ((_IDS, column_dtype(vocab_size)), (_PROBABILITIES, np.dtype(np.float16))):
                yield from (np.fromfile(path / name, dtype) for path in paths)

        ANSWER_FILE.write(into / _ANSWERS_FILE, facts, pieces())
        seconds = sum(float(np.fromfile(path / _SECONDS)[0]) for path in paths)
        return {"asked": self._asked, "seconds": seconds}

    def _answered(self, span: tuple[int, int]) -> Arrays:
        """Arrays of one shard: the answers to blocks first to last, and the seconds that the model took."""
        model, started = self._model, time.perf_counter()
        ids_Nxk, p_Nxk = likeliest(model, self._blocks, span, self._top_k, self._run.loop)
        seconds = np.array([time.perf_counter() - started])
        return {_IDS: ids_Nxk, _PROBABILITIES: p_Nxk, _SECONDS: seconds}

    # --- losses -------------------------------------------------------------------------------------------------------

    @cached_property
    def _parent(self) -> BigramTable:
        """Bigram table of the training rows, over which the mass of the tokens that are not kept is distributed."""
        counts, tokenizer = count(self._blocks), self._tokenizer.fingerprint
        try:
            return estimate_table(counts, "modified_kneser_ney", tokenizer_fingerprint=tokenizer)
        except InputError:  # too few rows for its discounts
            return estimate_table(counts, "witten_bell", tokenizer_fingerprint=tokenizer)

    def _losses(self, blocks: TokenBlocks) -> dict[str, float]:
        """Mean losses on blocks, nats per token: of the whole model, and of its answers by number of kept tokens."""
        truncations = sorted(k for k in {*TRUNCATIONS, self._top_k} if k < self._tokenizer.vocab_size)
        total = np.zeros(1 + len(truncations))
        with progress_bar("validating the teacher", len(blocks.ids_BxT)) as advance:
            for log_p_NxV, token_N, target_N in asked(self._model, blocks, (0, len(blocks.ids_BxT)), self._run.loop):
                counted_N = target_N != IGNORE_INDEX
                log_p_NxV, token_N, target_N = log_p_NxV[counted_N], token_N[counted_N], target_N[counted_N]
                of_parent = probabilities(self._parent, token_N.cpu().numpy(), target_N.cpu().numpy())
                parent_N = torch.from_numpy(of_parent).to(target_N.device)
                own_N = log_p_NxV.gather(1, target_N.unsqueeze(1)).squeeze(1).double()
                total[0] -= float(own_N.sum())
                top = log_p_NxV.topk(max(truncations, default=0), dim=1)
                for place, k in enumerate(truncations, 1):
                    left_N = (1 - top.values[:, :k].double().exp().sum(1)).clamp(min=LEAST_RESIDUAL)
                    is_kept_N = (top.indices[:, :k] == target_N.unsqueeze(1)).any(1)
                    p_N = own_N.exp() * is_kept_N + left_N * parent_N
                    total[place] -= float(p_N.log().sum())
                advance(len(counted_N) // (blocks.ids_BxT.shape[1] - 1))
        total /= count_targets(blocks, np.arange(len(blocks.ids_BxT)))
        return dict(zip(("own", *map(str, truncations)), total.tolist(), strict=True))


# --- asking any model -------------------------------------------------------------------------------------------------


def likeliest(
    model: torch.nn.Module, blocks: TokenBlocks, span: tuple[int, int], top_k: int, loop: LoopConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Likeliest tokens at each position of blocks first to last, [N, k], with their stored probabilities."""
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for log_p_NxV, _, _ in asked(model, blocks, span, loop):
        log_p_Nxk, ids_Nxk = (found.cpu().numpy() for found in log_p_NxV.topk(top_k, dim=1))
        parts.append((ids_Nxk.astype(column_dtype(blocks.vocab_size)), kept(np.exp(log_p_Nxk))))
    ids_Nxk, p_Nxk = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return ids_Nxk, p_Nxk


@torch.inference_mode()
def asked(
    model: torch.nn.Module, blocks: TokenBlocks, span: tuple[int, int], loop: LoopConfig
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield log-probabilities of the next token, float32 [N, V], tokens and targets [N], a few blocks at a time."""
    (first, last), vocab_size, device = span, blocks.vocab_size, pick_device(loop)
    at_once = max(1, LOGITS_BYTES[device.type] // (4 * vocab_size * (blocks.ids_BxT.shape[1] - 1)))
    autocast = autocast_of(loop, device)
    for start in range(first, last, at_once):
        batch = make_batch(blocks, np.arange(start, min(start + at_once, last)), device)
        with autocast:
            logits_BxTxV = model(input_ids=batch.context_BxT, use_cache=False).logits
        log_p_NxV = logits_BxTxV[..., :vocab_size].flatten(0, 1).float().log_softmax(1)
        yield log_p_NxV, batch.context_BxT.flatten(), batch.target_BxT.flatten()
