"""Teacher of kind model: trained once, resumed after a kill, asked about every block, or loaded from a folder."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_corpus import small_config

from trainable import names, small_teacher
from trainable.config import TrialConfig, override
from trainable.errors import DamagedFile, InputError
from trainable.plan import table_key, teacher_run
from trainable.prepare import prepare_run, prepare_runs
from trainable.record.cache import NotBuilt, only_what_is_built
from trainable.record.run_record import TeacherFacts
from trainable.shared_data import checksums, data_of
from trainable.student.evaluate import evaluate
from trainable.student.precision import Best
from trainable.student.run_data import RunData
from trainable.student.train import train
from trainable.teacher.answers import Answers
from trainable.text.corpus import open_corpus
from trainable.text.split import split_rows
from trainable.text.tokenizer.tokenizer import corpus_tokenizer

SMALL = {
    "teacher.kind": "model",
    "teacher.schedule": "linear",
    "teacher.steps": 12,
    "teacher.model.steps": 20,
    "teacher.model.hidden": 16,
    "teacher.model.top_k": 8,
}
Prepared = tuple[TrialConfig, Path, RunData, dict[str, Any]]  # config, cache, data, facts of the teacher
PLAIN = torch.autocast("cpu", enabled=False)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("small")
    config = small_config(folder, SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_teacher, "LOGITS_BYTES", {"cpu": 7 * 31 * 512 * 4})  # logits of 7 blocks
        data, facts = prepare_run(config, folder / "cache")
    return config, folder / "cache", data, facts["teacher"]


def answers_of(data: RunData) -> Answers:
    assert isinstance(data.table, Answers)
    return data.table


def small_of(config: TrialConfig, data: RunData, cache: Path) -> small_teacher.SmallTeacher:
    """SmallTeacher of a prepared run."""
    corpus = open_corpus(config.corpus)
    rows = split_rows(corpus.rows, config.corpus).train
    tokenizer = corpus_tokenizer(config.tokens.tokenizer, corpus, rows, cache)
    return small_teacher.SmallTeacher(config, data.train, tokenizer, cache)


def model_of(config: TrialConfig, data: RunData, cache: Path) -> Any:
    return small_of(config, data, cache)._model


def test_the_answers_at_every_training_position_are_the_models_likeliest_tokens(
    prepared: Prepared,
) -> None:
    config, cache, data, facts = prepared
    answers, model = answers_of(data), model_of(config, data, cache)
    assert answers.ids_BxTxk.shape == (*data.train.ids_BxT[:, 1:].shape, 8)
    with torch.inference_mode():
        ids_BxT = torch.from_numpy(data.train.ids_BxT[:, :-1].astype(np.int64))
        found = model(input_ids=ids_BxT).logits.softmax(-1).topk(8)
    np.testing.assert_allclose(answers.p_BxTxk, found.values, atol=1e-3)
    assert (answers.ids_BxTxk == found.indices.numpy()).mean() > 0.99, "ids differ only where probabilities are equal"
    assert answers.blocks_fingerprint == data.train.fingerprint
    assert (facts["top_k"], facts["positions"]) == (8, answers.ids_BxTxk[..., 0].size)


def test_the_teachers_own_loss_equals_the_loss_of_evaluate(prepared: Prepared) -> None:
    config, cache, data, facts = prepared
    expected = evaluate(model_of(config, data, cache), data.eval, 8, PLAIN).loss
    assert facts["eval_loss"] == pytest.approx(expected, abs=1e-5)


def test_padding_does_not_count_in_the_teachers_own_loss(tmp_path: Path) -> None:
    config = small_config(tmp_path, SMALL | {"tokens.packing": "as_published"})
    data, facts = prepare_run(config, tmp_path / "cache")
    assert data.eval.lengths_B is not None and (data.eval.lengths_B < 32).any()
    expected = evaluate(model_of(config, data, tmp_path / "cache"), data.eval, 8, PLAIN).loss
    assert facts["teacher"]["eval_loss"] == pytest.approx(expected, abs=1e-5)


def test_a_truncated_loss_is_the_loss_of_the_truncated_distribution(prepared: Prepared) -> None:
    """The truncated distribution keeps the k likeliest probabilities and adds the remaining mass times the bigrams."""
    config, cache, data, facts = prepared
    assert list(facts["truncated_losses"]) == ["8", "16", "32", "64"]
    ids_BxT = torch.from_numpy(data.eval.ids_BxT.astype(np.int64))
    with torch.inference_mode():
        p_NxV = model_of(config, data, cache)(input_ids=ids_BxT[:, :-1]).logits.double().softmax(-1).flatten(0, 1)
    parent = small_of(config, data, cache)._parent
    parent_NxV = torch.from_numpy(np.stack([parent.row(token) for token in ids_BxT[:, :-1].flatten()]))
    for k in (8, 64):
        kept_NxV = p_NxV * (p_NxV >= p_NxV.topk(k).values[:, -1:])
        cut_NxV = kept_NxV + (1 - kept_NxV.sum(1, keepdim=True)) * parent_NxV
        loss = -cut_NxV.gather(1, ids_BxT[:, 1:].reshape(-1, 1)).log().mean()
        assert facts["truncated_losses"][str(k)] == pytest.approx(float(loss), abs=1e-5)


def test_the_model_is_trained_by_the_students_loop_on_the_students_rows(
    prepared: Prepared,
) -> None:
    """Loss and number of tokens equal those of a control that has the settings of the teacher's model."""
    config, _, data, facts = prepared
    reports: list[dict[str, Any]] = []
    run = teacher_run(config)
    assert run.teacher.schedule == "none"
    assert (run.optimizer.lr, run.optimizer.warmup_steps, run.optimizer.beta2) == (3e-3, 2, config.optimizer.beta2)
    train(run, dataclasses.replace(data, table=None), reports.append)
    assert reports[-1][names.EVAL_LOSS] == pytest.approx(facts["eval_loss"], abs=1e-5)
    assert facts["counted_tokens"] == reports[-1][names.TOKENS]
    assert facts["train_seconds"] > 0 and facts["answer_seconds"] > 0


def test_the_teacher_changes_the_losses_and_a_killed_student_resumes_to_the_same_losses(
    prepared: Prepared, tmp_path: Path
) -> None:
    config, _, data, _ = prepared
    whole: list[dict[str, Any]] = []
    train(config, data, whole.append)
    plain: list[dict[str, Any]] = []
    train(override(config, {"teacher.schedule": "none", "teacher.steps": 0}), data, plain.append)
    assert whole[-1][names.EVAL_LOSS] != plain[-1][names.EVAL_LOSS]

    def killed(report: dict[str, Any]) -> None:
        if report[names.STEP] == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, data, killed, tmp_path / "checkpoint.pt")
    resumed: list[dict[str, Any]] = []
    train(config, data, resumed.append, tmp_path / "checkpoint.pt")
    assert resumed[0][names.STEP] == 10
    assert [report[names.EVAL_LOSS] for report in resumed] == [report[names.EVAL_LOSS] for report in whole[2:]]


def test_precision_auto_has_the_teacher_of_the_precision_that_auto_chooses(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, cache, data, facts = prepared
    best = Best("float32", "the test says so")
    monkeypatch.setattr("trainable.student.precision.best_precision", lambda device: best)
    again, told = prepare_run(override(config, {"loop.precision": "auto"}), cache)
    assert answers_of(again).checksum == answers_of(data).checksum
    assert told["teacher"]["train_seconds"] == facts["train_seconds"], "the model was not trained again"


def test_a_second_preparation_neither_trains_nor_asks_a_model(
    prepared: Prepared,
) -> None:
    config, cache, data, facts = prepared
    with only_what_is_built():
        again, facts_again = prepare_run(config, cache)
        assert facts_again["teacher"] == facts
        assert answers_of(again).checksum == answers_of(data).checksum
        with pytest.raises(NotBuilt):
            prepare_run(override(config, {"teacher.model.hidden": 24}), cache)


def test_another_number_of_kept_tokens_asks_the_same_model_again(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, cache, data, facts = prepared
    monkeypatch.setattr(small_teacher, "train", lambda *_: pytest.fail("the model was trained again"))
    more, more_facts = prepare_run(override(config, {"teacher.model.top_k": 12}), cache)
    assert answers_of(more).ids_BxTxk.shape[2] == 12
    np.testing.assert_array_equal(answers_of(more).ids_BxTxk[..., :8], answers_of(data).ids_BxTxk)
    assert more_facts["teacher"]["train_seconds"] == facts["train_seconds"]


def test_training_that_was_killed_goes_on_at_its_checkpoint_to_the_same_answers(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, cache, data, _ = prepared
    shutil.copytree(cache, tmp_path / "cache")
    for made in ("teachers", "answers", "teacher_losses"):
        shutil.rmtree(tmp_path / "cache" / made)
    seen: list[int] = []

    def watched(run: TrialConfig, data: RunData, report: Any, checkpoint: Path) -> None:
        def hear(found: dict[str, Any]) -> None:
            seen.append(found[names.STEP])
            if seen[-1] == 13 and seen.count(13) == 1:
                raise KeyboardInterrupt
            report(found)

        train(run, data, hear, checkpoint)

    monkeypatch.setattr(small_teacher, "train", watched)
    with pytest.raises(KeyboardInterrupt):
        prepare_run(config, tmp_path / "cache")
    seen_before = len(seen)
    again, _ = prepare_run(config, tmp_path / "cache")
    assert seen[seen_before] == 13, "training goes on at the checkpoint of the step where it was killed"
    assert answers_of(again).checksum == answers_of(data).checksum
    assert not list((tmp_path / "cache" / "teachers").glob("*.pt")), "a checkpoint is left"


def test_asking_that_was_killed_goes_on_at_the_next_shard(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, cache, data, _ = prepared
    shutil.copytree(cache, tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache" / "answers")
    monkeypatch.setattr(small_teacher, "SHARD_POSITIONS", 31 * 50)
    spans: list[tuple[int, int]] = []
    answered = small_teacher.SmallTeacher._answered

    def watched(self: Any, span: tuple[int, int]) -> Any:
        spans.append(span)
        if len(spans) == 2:
            raise KeyboardInterrupt
        return answered(self, span)

    monkeypatch.setattr(small_teacher.SmallTeacher, "_answered", watched)
    with pytest.raises(KeyboardInterrupt):
        prepare_run(config, tmp_path / "cache")
    again, _ = prepare_run(config, tmp_path / "cache")
    assert spans[:3] == [(0, 50), (50, 100), (50, 100)]
    assert spans[-1][1] == len(data.train.ids_BxT)
    assert answers_of(again).checksum == answers_of(data).checksum
    assert not list((tmp_path / "cache" / "answers").glob("*.shards")), "shards are left"


def test_a_damaged_answer_is_asked_for_again(prepared: Prepared, tmp_path: Path) -> None:
    config, cache, data, _ = prepared
    shutil.copytree(cache, tmp_path / "cache")
    damaged = list((tmp_path / "cache" / "answers").glob("*/answers.bin"))
    assert damaged
    for path in damaged:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(DamagedFile):
            small_teacher.load_answers(path)
    assert answers_of(prepare_run(config, tmp_path / "cache")[0]).checksum == answers_of(data).checksum


def test_room_for_the_answers_is_required_before_the_model_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(path: Path, needed_bytes: float, what: str, remedy: str) -> None:
        raise InputError(f"{needed_bytes:.0f} for {what}: {remedy}")

    monkeypatch.setattr(small_teacher, "require_room", no_room)
    monkeypatch.setattr(small_teacher, "train", lambda *_: pytest.fail("the model was trained"))
    config = small_config(tmp_path, SMALL)
    plain, _ = prepare_run(override(config, {"teacher.kind": "uniform"}), tmp_path / "cache")
    needed = 2 * plain.train.ids_BxT[:, 1:].size * 8 * 4
    with pytest.raises(InputError, match=rf"^{needed} for the answers of the teacher: lower teacher.model.top_k"):
        prepare_run(config, tmp_path / "cache")


def test_a_teacher_that_diverges_is_reported_in_one_sentence(tmp_path: Path) -> None:
    config = small_config(tmp_path, SMALL | {"teacher.model.lr": 1e9, "optimizer.clip_norm": 1e9})
    with pytest.raises(InputError, match=r"the teacher of kind model diverged at step \d+: lower teacher.model.lr"):
        prepare_run(config, tmp_path / "cache")
    assert not list((tmp_path / "cache" / "teachers").glob("*.pt"))


def test_all_trials_of_a_sweep_have_one_teacher(tmp_path: Path) -> None:
    """Schedule, learning rate, seed, length and validation half do not change the teacher; a half changes its loss."""
    one = small_config(tmp_path, SMALL | {"corpus.eval_half": "choosing"})
    changes = {"optimizer.lr": 1e-2, "optimizer.warmup_steps": 5, "seed": 3, "loop.steps": 40, "teacher.steps": 40}
    other = override(one, changes)
    assert table_key(one) == table_key(other)
    reporting = override(other, {"corpus.eval_half": "reporting"})
    prepared = prepare_runs([one, other, reporting], tmp_path / "cache")
    assert len(prepared.tables) == 2
    assert len({id(table) for table in prepared.tables.values()}) == 1, "all trials share one table"
    losses = {facts["eval_loss"] for facts in prepared.facts["tables"].values()}
    assert len(losses) == 2
    expected = checksums(prepared.blocks, prepared.tables)
    for config in (one, reporting):
        assert data_of(config, expected, prepared.blocks, prepared.tables).table is not None
    for key, value in {"teacher.model.layers": 2, "loop.batch_blocks": 2, "optimizer.beta2": 0.95}.items():
        assert table_key(override(one, {key: value})) != table_key(one), f"{key} makes another teacher"


def test_answers_to_other_blocks_are_refused(
    prepared: Prepared,
) -> None:
    config, _, data, _ = prepared
    other = dataclasses.replace(data, table=dataclasses.replace(answers_of(data), blocks_fingerprint="others"))
    with pytest.raises(InputError, match="asked about other training blocks than these"):
        train(config, other, lambda report: None)


def test_the_record_says_what_the_teacher_holds_and_what_it_cost(
    prepared: Prepared,
) -> None:
    facts = TeacherFacts(**json.loads(json.dumps(prepared[3])))
    assert facts.smoothing == "model of 1 layer, width 16"
    assert facts.holds == f"the 8 likeliest tokens at {facts.positions:,} positions"
    assert facts.making_seconds == prepared[3]["train_seconds"] + prepared[3]["answer_seconds"]
    assert facts.own_loss == prepared[3]["truncated_losses"]["8"] != prepared[3]["eval_loss"]


# --- a model from a folder --------------------------------------------------------------------------------------------


@pytest.fixture
def trained(prepared: Prepared, tmp_path: Path) -> tuple[TrialConfig, Path, Any]:
    """Config that loads a trained model from a folder, this folder as transformers writes it, and the model.

    It is the teacher without its output bias, for which the folder of a Llama has no place.
    """
    config, cache, data, _ = prepared
    folder, model = tmp_path / "trained", model_of(config, data, cache)
    model.lm_head.bias = None
    model.save_pretrained(folder)
    (tokenizer,) = (cache / "tokenizers").glob("*/tokenizer.json")
    shutil.copy(tokenizer, folder)
    return override(config, {"teacher.model.folder": str(folder)}), folder, model


def test_a_model_from_a_folder_is_not_trained_and_gives_that_models_answers(
    prepared: Prepared,
    trained: tuple[TrialConfig, Path, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (config, cache, data, _), (given_config, _, model) = prepared, trained
    monkeypatch.setattr(small_teacher, "train", lambda *_: pytest.fail("the model was trained"))
    given, given_facts = prepare_run(given_config, cache)
    blocks = len(data.train.ids_BxT)
    ids_Nxk, p_Nxk = small_teacher.likeliest(model, data.train, (0, blocks), 8, config.loop)
    answers = answers_of(given)
    np.testing.assert_array_equal(answers.ids_BxTxk.reshape(ids_Nxk.shape), ids_Nxk)
    np.testing.assert_array_equal(answers.p_BxTxk.reshape(p_Nxk.shape), p_Nxk)
    assert given_facts["teacher"]["smoothing"] == "model trained"
    assert given_facts["teacher"]["train_seconds"] == 0
    assert given_facts["teacher"]["eval_loss"] == pytest.approx(evaluate(model, data.eval, 8, PLAIN).loss, abs=1e-5)


def test_the_tokenizer_of_an_exported_model_is_accepted(
    prepared: Prepared, trained: tuple[TrialConfig, Path, Any]
) -> None:
    """transformers writes a tokenizer in another form; special tokens that it adds around a text do not matter."""
    from sweeps.engine.export.model_folder import fast_tokenizer

    config, cache, data, _ = prepared
    before, _ = prepare_run(trained[0], cache)
    small = small_of(config, data, cache)
    (trained[1] / "tokenizer.json").unlink()
    fast_tokenizer(small._tokenizer, config).save_pretrained(trained[1])
    given, _ = prepare_run(trained[0], cache)
    np.testing.assert_array_equal(answers_of(given).p_BxTxk, answers_of(before).p_BxTxk)


def test_other_weights_in_the_folder_are_another_teacher(
    prepared: Prepared, trained: tuple[TrialConfig, Path, Any]
) -> None:
    (_, cache, _, _), (config, folder, model) = prepared, trained
    before, _ = prepare_run(config, cache)
    with torch.no_grad():
        model.lm_head.weight.mul_(2)
    model.save_pretrained(folder)
    given, _ = prepare_run(config, cache)
    assert (answers_of(given).p_BxTxk != answers_of(before).p_BxTxk).any()


def another_tokenizer(folder: Path) -> None:
    tree = json.loads((folder / "tokenizer.json").read_text())
    tree["model"]["merges"] = tree["model"]["merges"][:-1]
    (folder / "tokenizer.json").write_text(json.dumps(tree))


def shorter(folder: Path) -> None:
    tree = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(tree | {"max_position_embeddings": 16}))


def deeper(folder: Path) -> None:
    tree = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(tree | {"num_hidden_layers": 2}))


def unknown(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "nobody"}')


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (another_tokenizer, "has another tokenizer than this run"),
        (shorter, "reads 16 tokens at most but blocks have 32"),
        (deeper, r"lacks the weights model\.layers\.1\."),
        (unknown, "cannot be loaded"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "is not a whole tokenizer file"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    prepared: Prepared,
    trained: tuple[TrialConfig, Path, Any],
    spoil: Any,
    message: str,
) -> None:
    spoil(trained[1])
    with pytest.raises(InputError, match=message):
        prepare_run(trained[0], prepared[1])


def test_a_model_with_an_output_bias_that_transformers_would_drop_is_refused(
    prepared: Prepared, trained: tuple[TrialConfig, Path, Any]
) -> None:
    (config, cache, data, _), (given, folder, _) = prepared, trained
    model_of(config, data, cache).save_pretrained(folder)
    with pytest.raises(InputError, match="has an output bias, for which its architecture has no place: give a model"):
        prepare_run(given, cache)


def test_a_missing_model_folder_is_refused_before_any_text_is_read(tmp_path: Path) -> None:
    config = small_config(tmp_path, SMALL | {"teacher.model.folder": str(tmp_path / "absent")})
    Path(config.corpus.source).unlink()
    with pytest.raises(InputError, match=r"teacher\.model\.folder is .*absent, which has no config\.json"):
        prepare_run(config, tmp_path / "cache")
