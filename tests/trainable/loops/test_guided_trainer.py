"""GuidedTrainer trains like this project's loop, on batches of any collator. B rows, T positions, V tokens."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_corpus import small_config
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from trainable import names
from trainable.config import TeacherConfig, TrialConfig, override
from trainable.errors import InputError
from trainable.loops.guided_trainer import GuidedTrainer
from trainable.prepare import prepare_run
from trainable.student.batches import step_numbers
from trainable.student.model import build_model
from trainable.student.optimizer import learning_rate, make_optimizer
from trainable.student.run_data import RunData
from trainable.student.train import train
from trainable.teacher.kinds.bigram import BigramTeacher
from trainable.teacher.kinds.ngram import NgramTeacher
from trainable.teacher.kinds.uniform import UniformTeacher
from trainable.teacher.kneser_ney import estimate_ngrams
from trainable.teacher.ngram_counts import count_ngrams
from trainable.teacher.table import table_without_context
from trainable.teacher.teacher import RowTeacher

pytest.importorskip("accelerate", reason="needs accelerate, which the extra [hf] installs")

V, EOS, PAD = 40, 2, 39  # the teacher's table has no padding token
LINEAR = TeacherConfig(schedule="linear", steps=4, min_weight=0.25)
TRIGRAM = {"teacher.kind": "ngram", "teacher.order": 3, "teacher.smoothing": "modified_kneser_ney"}
GUIDED = {"teacher.schedule": "linear", "teacher.steps": 12, "teacher.min_weight": 0.1}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("small")


def prepared(folder: Path, changes: Mapping[str, Any]) -> tuple[TrialConfig, RunData]:
    config = small_config(folder, dict(changes))
    return config, prepare_run(config, folder / "cache")[0]


def arguments(folder: Path, **changes: Any) -> TrainingArguments:
    quiet = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "use_cpu": True}
    return TrainingArguments(output_dir=str(folder), **quiet | {"train_sampling_strategy": "sequential"} | changes)


def rows_of(ids_BxT: np.ndarray) -> list[dict[str, Tensor]]:
    return [{"input_ids": row_T, "labels": row_T} for row_T in torch.from_numpy(ids_BxT.astype(np.int64))]


def like_ours(config: TrialConfig, data: RunData, folder: Path, **changes: Any) -> GuidedTrainer:
    """GuidedTrainer with the model, optimizer and batches of this project's loop."""
    loop = config.loop
    numbers_N = np.concatenate([step_numbers(data.train, t, loop, config.seed).ravel() for t in range(loop.steps)])
    model = build_model(config.model, vocab_size=data.train.vocab_size, context=config.tokens.context, seed=config.seed)
    optimizer = make_optimizer(model, config.optimizer)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(step, config.optimizer, loop.steps) / config.optimizer.lr
    )
    asked = {
        "max_steps": loop.steps,
        "per_device_train_batch_size": loop.batch_blocks,
        "gradient_accumulation_steps": loop.accumulation,
        "logging_steps": loop.eval_every,
        "eval_strategy": "steps",
        "eval_steps": loop.eval_every,
        "per_device_eval_batch_size": 32,
    }
    return GuidedTrainer(
        model=model,
        args=arguments(folder, **asked | changes),
        train_dataset=rows_of(data.train.ids_BxT[numbers_N]),
        eval_dataset=rows_of(data.eval.ids_BxT),
        optimizers=(optimizer, rate),
        schedule=config.teacher,
        teacher=data.table,
    )


def logged(trainer: Trainer, name: str) -> list[float]:
    return [row[name] for row in trainer.state.log_history if name in row]


@pytest.mark.parametrize(
    ("arm", "accumulation"), [({}, 1), (GUIDED, 1), (GUIDED | TRIGRAM, 2)], ids=["control", "bigram", "trigram"]
)
def test_its_losses_equal_those_of_this_projects_loop_on_the_same_batches(
    folder: Path, tmp_path: Path, arm: Mapping[str, Any], accumulation: int
) -> None:
    config, data = prepared(folder, {**arm, "loop.accumulation": accumulation, "loop.batch_blocks": 4 // accumulation})
    ours: list[dict[str, Any]] = []
    train(config, data, ours.append)
    trainer = like_ours(config, data, tmp_path)
    trainer.train()
    assert logged(trainer, "eval_loss") == pytest.approx([row[names.EVAL_LOSS] for row in ours[1:]], abs=1e-4)
    assert logged(trainer, "loss") == pytest.approx([row[names.TRAIN_LOSS] for row in ours[1:]], abs=1e-4)
    assert ours[-1][names.EVAL_LOSS] < ours[0][names.EVAL_LOSS] - 0.5, "the student learnt"


def test_the_teacher_is_asked_once_a_step_while_its_weight_is_above_0_and_the_weight_is_logged(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, data = prepared(folder, GUIDED | {"teacher.min_weight": 0.0, "loop.accumulation": 2})
    trainer, asked = like_ours(config, data, tmp_path, logging_steps=1, eval_strategy="no"), []
    guide = BigramTeacher.guide

    def counted(self: BigramTeacher, *words: Any, **more: Any) -> Any:
        asked.append(words[2])
        return guide(self, *words, **more)

    monkeypatch.setattr(BigramTeacher, "guide", counted)
    trainer.train()
    assert asked == [1 - step / 12 for step in range(12)]
    assert logged(trainer, "teacher_weight") == pytest.approx([*asked, *[0.0] * 8])


def test_evaluation_uses_no_teacher(folder: Path, tmp_path: Path) -> None:
    config, data = prepared(folder, GUIDED)
    trainer = like_ours(config, data, tmp_path)
    found = trainer.evaluate()["eval_loss"]
    control = like_ours(override(config, {"teacher.schedule": "none"}), data, tmp_path)
    assert found == control.evaluate()["eval_loss"]


def test_training_resumed_from_a_checkpoint_ends_with_the_same_weights(folder: Path, tmp_path: Path) -> None:
    config, data = prepared(folder, GUIDED)
    saved = {"save_strategy": "steps", "save_steps": 8, "eval_strategy": "no"}
    whole = like_ours(config, data, tmp_path / "whole", **saved)
    whole.train()
    resumed = like_ours(config, data, tmp_path / "resumed", **saved)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-8"))
    assert resumed.state.global_step == 20
    for name, expected in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], expected), name


def test_a_checkpoint_of_another_schedule_is_refused(folder: Path, tmp_path: Path) -> None:
    config, data = prepared(folder, GUIDED)
    saved = {"save_strategy": "steps", "save_steps": 2, "max_steps": 2, "eval_strategy": "no"}
    like_ours(config, data, tmp_path, **saved).train()
    other = like_ours(override(config, {"teacher.steps": 13}), data, tmp_path, **saved)
    with pytest.raises(InputError, match=r"another teacher or schedule \(steps 12 there, 13 here\)"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


def test_losses_in_bfloat16_equal_those_in_float32_within_its_precision(folder: Path, tmp_path: Path) -> None:
    config, data = prepared(folder, GUIDED)
    precise, low = (like_ours(config, data, tmp_path, bf16=bf16) for bf16 in (False, True))
    precise.train()
    low.train()
    assert logged(low, "loss") != logged(precise, "loss")
    assert logged(low, "loss") == pytest.approx(logged(precise, "loss"), abs=0.02)
    assert next(low.model.parameters()).dtype == torch.float32


# --- batches of any collator ---


def trigrams() -> NgramTeacher:
    stream_N = (np.random.default_rng(0).zipf(1.3, 4000) % (V - 2)).astype(np.uint16)
    counts = count_ngrams(stream_N, V - 1, 3, eos_id=EOS)
    return NgramTeacher(estimate_ngrams(counts, tokenizer_fingerprint="abc"))


TEXTS = [torch.from_numpy(np.random.default_rng(seed).zipf(1.3, 5 + 3 * seed) % (V - 2)) for seed in range(3)]


def in_a_row_each(side: str) -> dict[str, Tensor]:
    """Batch with a text in each row, padded on one side; a text's first token is no target: no token precedes it."""
    longest = max(map(len, TEXTS))

    def padded(text_T: Tensor, value: int) -> Tensor:
        blank = torch.full((longest - len(text_T),), value)
        return torch.cat([text_T, blank] if side == "right" else [blank, text_T])

    return {
        "input_ids": torch.stack([padded(text_T, PAD) for text_T in TEXTS]),
        "attention_mask": torch.stack([padded(torch.ones_like(text_T), 0) for text_T in TEXTS]),
        "labels": torch.stack([padded(torch.cat([torch.tensor([-100]), text_T[1:]]), -100) for text_T in TEXTS]),
    }


def end_to_end() -> dict[str, Tensor]:
    """Batch with all texts packed in one row, as DataCollatorWithFlattening makes it."""
    return {
        "input_ids": torch.cat(TEXTS)[None],
        "position_ids": torch.cat([torch.arange(len(text_T)) for text_T in TEXTS])[None],
        "labels": torch.cat([torch.cat([torch.tensor([-100]), text_T[1:]]) for text_T in TEXTS])[None],
    }


def by_themselves() -> list[dict[str, Tensor]]:
    return [{"input_ids": text_T[None], "labels": text_T[None]} for text_T in TEXTS]


def small_llama(vocab_size: int = V) -> LlamaForCausalLM:
    """Llama whose logits differ much from each other, so that the teacher changes the loss clearly."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=vocab_size, max_position_embeddings=64, **sizes))
    model.lm_head.weight.data *= 20
    return model


def one_step(
    folder: Path,
    batches: list[dict[str, Tensor]],
    teacher: RowTeacher,
    schedule: TeacherConfig = LINEAR,
    model: LlamaForCausalLM | None = None,
) -> tuple[float, Tensor]:
    """Train one step of these micro-batches; return its mean loss and the output matrix after the step."""
    trainer = GuidedTrainer(
        model=model or small_llama(),
        args=arguments(
            folder,
            max_steps=1,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=len(batches),
            logging_steps=1,
            learning_rate=0.1,
            lr_scheduler_type="constant",
            optim="sgd",
            max_grad_norm=1e9,
        ),
        data_collator=lambda chosen: batches[chosen[0]],
        train_dataset=list(range(len(batches))),
        schedule=schedule,
        teacher=teacher,
    )
    trainer.train()
    return logged(trainer, "loss")[0], trainer.model.lm_head.weight.detach()


@pytest.fixture(scope="module")
def taught_by_themselves(tmp_path_factory: pytest.TempPathFactory) -> tuple[float, Tensor]:
    return one_step(tmp_path_factory.mktemp("alone"), by_themselves(), trigrams())


@pytest.mark.parametrize(
    "batches",
    [[in_a_row_each("right")], [in_a_row_each("left")], [end_to_end()]],
    ids=["padded on the right", "padded on the left", "packed with position ids"],
)
def test_texts_are_taught_alike_however_they_are_collated(
    tmp_path: Path, taught_by_themselves: tuple[float, Tensor], batches: list[dict[str, Tensor]]
) -> None:
    """The step equals that of one text in each micro-batch: no history crosses padding or enters the next text."""
    loss, output_VxD = one_step(tmp_path, batches, trigrams())
    assert loss == pytest.approx(taught_by_themselves[0], abs=1e-5)
    torch.testing.assert_close(output_VxD, taught_by_themselves[1], atol=1e-6, rtol=1e-5)


def test_packed_texts_without_position_ids_have_another_loss(
    tmp_path: Path, taught_by_themselves: tuple[float, Tensor]
) -> None:
    """This difference shows that the test above can fail."""
    batch = {name: value for name, value in end_to_end().items() if name != "position_ids"}
    assert one_step(tmp_path, [batch], trigrams())[0] != pytest.approx(taught_by_themselves[0], abs=1e-2)


def test_a_target_at_a_hidden_position_is_learnt_from_the_text_alone(tmp_path: Path) -> None:
    """The first token of a text with padding on the left has the same loss with and without a teacher."""
    batch = in_a_row_each("left")
    first_token = {**batch, "labels": torch.full_like(batch["labels"], -100)}
    first_token["labels"][0, -len(TEXTS[0])] = TEXTS[0][0]
    plain = TeacherConfig(schedule="none")
    losses = [one_step(tmp_path, [first_token], trigrams(), schedule)[0] for schedule in (LINEAR, plain)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    whole = [one_step(tmp_path, [batch], trigrams(), schedule)[0] for schedule in (LINEAR, plain)]
    assert whole[0] != pytest.approx(whole[1], abs=1e-2)


@pytest.mark.parametrize("told", [True, False], ids=["with num_items_in_batch", "without num_items_in_batch"])
def test_without_a_teacher_guided_trainer_trains_like_trainer(tmp_path: Path, told: bool) -> None:
    """Each target counts alike in a step whose micro-batches have different numbers of targets."""
    batches = [in_a_row_each("left"), by_themselves()[0], end_to_end()]
    words: dict[str, Any] = {
        "args": arguments(
            tmp_path,
            max_steps=1,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=3,
            learning_rate=0.1,
            optim="sgd",
            lr_scheduler_type="constant",
            logging_steps=1,
        ),
        "data_collator": lambda chosen: batches[chosen[0]],
        "train_dataset": [0, 1, 2],
    }
    plain = Trainer(model=small_llama(), **words)
    plain.train()
    guided = GuidedTrainer(model=small_llama(), **words, schedule=TeacherConfig(schedule="none"))
    guided.model_accepts_loss_kwargs = told
    guided.train()
    assert logged(guided, "loss") == pytest.approx(logged(plain, "loss"), abs=1e-5)
    for name, expected in plain.model.state_dict().items():
        torch.testing.assert_close(guided.model.state_dict()[name], expected, atol=1e-6, rtol=1e-5, msg=name)


def test_masked_labels_are_no_targets_but_stay_in_the_history(tmp_path: Path) -> None:
    """The masked labels are a prompt: the tokens after the prompt are learnt with the prompt as history."""
    [text_T] = [text_T for text_T in TEXTS if len(text_T) == 11]
    answer = {"input_ids": text_T[None], "labels": text_T[None].clone()}
    answer["labels"][:, :6] = -100
    sums = []
    for last in (6, 11):  # the loss of the prompt alone, then of the whole text
        ids_1xT = text_T[None, :last]
        sums.append(one_step(tmp_path, [{"input_ids": ids_1xT, "labels": ids_1xT}], trigrams())[0] * (last - 1))
    assert one_step(tmp_path, [answer], trigrams())[0] * 5 == pytest.approx(sums[1] - sums[0], abs=1e-4)


def test_a_model_with_bfloat16_weights_is_taught_alike_within_the_precision_of_bfloat16(
    tmp_path: Path, taught_by_themselves: tuple[float, Tensor]
) -> None:
    loss, output_VxD = one_step(tmp_path, by_themselves(), trigrams(), model=small_llama().bfloat16())
    assert output_VxD.dtype == torch.bfloat16
    assert loss == pytest.approx(taught_by_themselves[0], abs=0.1)
    torch.testing.assert_close(output_VxD.float(), taught_by_themselves[1], atol=2e-2, rtol=2e-2)


class OneToken(UniformTeacher):
    """Teacher class of a user that supports only histories that begin with a row."""

    def rows(self, context, blocks, dtype):  # type: ignore[no-untyped-def, override]
        return super().rows(context, blocks, dtype)


def test_a_users_teacher_that_does_not_support_packed_texts_refuses_them(tmp_path: Path) -> None:
    table = table_without_context(
        np.full(V - 1, 1 / (V - 1)), smoothing="uniform", tokenizer_fingerprint="abc", counted_tokens=0, rows="none"
    )
    one_step(tmp_path, [in_a_row_each("right")], OneToken(table))
    with pytest.raises(InputError, match="OneToken supports only histories that begin with a row, but a batch has"):
        one_step(tmp_path, [end_to_end()], OneToken(table))


# --- refused ---


def refused(folder: Path, match: str, **changes: Any) -> None:
    words: dict[str, Any] = {"model": small_llama(), "args": arguments(folder, max_steps=1)}
    with pytest.raises(InputError, match=match):
        GuidedTrainer(**words | {"train_dataset": [0], "schedule": LINEAR, "teacher": trigrams()} | changes)


def test_unsupported_arguments_are_refused_before_training(tmp_path: Path) -> None:
    refused(tmp_path, "the teacher knows 39 tokens but the model's head has 35 rows", model=small_llama(V - 5))
    refused(tmp_path, "a schedule with a teacher of kind bigram needs its table", teacher=None)
    refused(tmp_path, "does not exist, so there is no schedule", schedule=tmp_path / "schedule.json")
    refused(tmp_path, "schedule is a dict: give a TeacherConfig", schedule={"schedule": "linear"})
    refused(tmp_path, "label_smoothing_factor: leave it out", args=arguments(tmp_path, label_smoothing_factor=0.1))
    refused(tmp_path, "a compute_loss_func: leave it out", compute_loss_func=lambda *_, **__: None)
    refused(tmp_path, "cannot teach here", teacher=json)


def with_another_forward(change: Callable[[Any], None]) -> LlamaForCausalLM:
    """Student whose outputs are changed before the loss is computed."""
    model = small_llama()

    class Other(LlamaForCausalLM):
        def forward(self, *words: Any, labels: Tensor | None = None, **more: Any) -> Any:
            found = super().forward(*words, **more)
            change(found)
            if labels is not None:
                found.loss = self.loss_function(found.logits, labels, self.config.vocab_size)
                found.loss = found.loss + getattr(found, "penalty", 0.0)
            return found

    model.__class__ = Other
    return model


def penalise(found: Any) -> None:
    found.penalty = 0.01  # as the auxiliary loss of a mixture of experts


def cap(found: Any) -> None:
    found.logits = 30 * torch.tanh(found.logits / 30)  # as Gemma 2 does


@pytest.mark.parametrize("change", [penalise, cap])
def test_a_model_whose_loss_is_not_that_of_a_linear_head_is_refused(
    tmp_path: Path, change: Callable[[Any], None]
) -> None:
    GuidedTrainer(
        model=with_another_forward(lambda found: None),
        args=arguments(tmp_path, max_steps=1),
        train_dataset=[0],
        schedule=LINEAR,
        teacher=trigrams(),
    )
    refused(tmp_path, "not its hidden states times its head, or its loss", model=with_another_forward(change))


def test_a_batch_with_unknown_histories_is_refused(tmp_path: Path) -> None:
    batch = by_themselves()[0]
    of_rows = torch.ones(1, 1, 5, 5)
    for changes, match in (
        ({"attention_mask": of_rows}, r"the attention_mask of a batch is \[1, 1, 5, 5\]"),
        ({"position_ids": torch.ones(3, 1, 5)}, r"the position_ids of a batch are \[3, 1, 5\]"),
        ({"input_ids": None}, "a batch has no input_ids"),
        ({"input_ids": torch.full((1, 5), V - 1)}, "token id 39 is outside the n-gram table's vocabulary of 39"),
    ):
        with pytest.raises(InputError, match=match):
            one_step(tmp_path, [{**batch, **changes}], trigrams())
