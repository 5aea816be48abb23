"""Write a trained trial as a folder that transformers loads: weights, tokenizer, model card, and its schedule.

    model = AutoModelForCausalLM.from_pretrained(DIR)
    tokenizer = AutoTokenizer.from_pretrained(DIR)

The folder is filled under a temporary name and read back before it gets its own name, so it is whole or absent.
"""

import os
import shutil
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer, processors
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from analysis.results import read_findings
from sweeps.engine.export.found_schedule import write_found_schedule
from sweeps.engine.export.model_card import model_card
from sweeps.engine.folder import FinishedTrial, RunFolder
from trainable.config import TrialConfig, identity
from trainable.errors import InputError, require
from trainable.plan import TrialPlan, data_key, placed
from trainable.record.cache import cache_folder
from trainable.record.files import fingerprint, publish
from trainable.student.checkpoint import load_checkpoint
from trainable.student.config_keys import takes_none
from trainable.student.model import build_model
from trainable.text.corpus import open_corpus
from trainable.text.split import split_rows
from trainable.text.tokenizer.tokenizer import TextTokenizer, corpus_tokenizer

CARD_FILE = "README.md"


def write_model_folder(run: RunFolder, trial: FinishedTrial, folder: Path) -> None:
    """Write the model of a finished trial to a new folder.

    Raises InputError if checkpoint or tokenizer are no longer the trial's, or if the folder cannot be written.
    """
    tokenizer = trial_tokenizer(run, trial.plan.config)
    model = trained_model(run, trial.plan, tokenizer)
    parameters, kind = sum(p.numel() for p in model.parameters()), model.config.model_type
    card = model_card(read_findings(run.path), trial, tokenizer, parameters, kind)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
        logging.disable_progress_bar()
        model.save_pretrained(temporary)
        fast_tokenizer(tokenizer, trial.plan.config).save_pretrained(temporary)
        write_found_schedule(run, trial, temporary, tokenizer.fingerprint)
        (temporary / CARD_FILE).write_text(card, encoding="utf-8")
        _check_loads(temporary, model)
        _to_disk(temporary)
        publish(temporary, folder)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--export: cannot write {folder} ({reason}): give another folder, or free space.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def trial_tokenizer(run: RunFolder, config: TrialConfig) -> TextTokenizer:
    """Return the tokenizer of a trial, from its source or the cache. Raises InputError if it has changed."""
    here = placed(config, run.record().places or {})
    corpus = open_corpus(here.corpus)
    train_rows_R = split_rows(corpus.rows, here.corpus).train
    tokenizer = corpus_tokenizer(here.tokens.tokenizer, corpus, train_rows_R, cache_folder(), eos=here.tokens.eos)
    known = {table.tokenizer for table in run.record().tables.values() if table.blocks == data_key(config)}
    require(
        tokenizer.fingerprint in known,
        f"--export: tokenizer {config.tokens.tokenizer} of corpus {corpus.name} is no longer what run {run.address} "
        "was trained with: restore it.",
    )
    return tokenizer


def trained_model(run: RunFolder, plan: TrialPlan, tokenizer: TextTokenizer) -> PreTrainedModel:
    """The model with the weights of the trial's last checkpoint, in float32, on the CPU."""
    config, path = plan.config, run.checkpoint(plan.name)
    state, parts = load_checkpoint(path, fingerprint(identity(config)))
    require(state.step == config.loop.steps, f"--export: {path} is of step {state.step}, not the last: resume the run.")
    plain = replace(config.model, output_bias="none")  # an architecture's own bias is loaded below
    model = build_model(plain, vocab_size=tokenizer.vocab_size, context=config.tokens.context, seed=config.seed)
    try:
        model.load_state_dict(parts["model"])
    except RuntimeError:  # of another size
        raise InputError(f"--export: {path} is not of model {config.model.name} as it is now: restore it.") from None
    special = special_ids(tokenizer, config)
    for name, token_id in special.items():
        if token_id is not None or takes_none(model.config.model_type, name):
            setattr(model.config, name, token_id)
    model.generation_config = GenerationConfig(**special)
    return model


def special_ids(tokenizer: TextTokenizer, config: TrialConfig) -> dict[str, int | None]:
    """Tokens with which generation begins, ends and pads: only those that were put into the training text."""
    if config.tokens.packing == "packed":
        return {"bos_token_id": tokenizer.eos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": None}
    put = tokenizer.encoder.encode("a")  # with the tokens that the tokenizer itself puts around a text
    added = {token_id for token_id, is_added in zip(put.ids, put.special_tokens_mask, strict=True) if is_added}
    bos, eos = (token_id if token_id in added else None for token_id in (tokenizer.bos_id, tokenizer.eos_id))
    pad = None if tokenizer.pad_id == tokenizer.eos_id else tokenizer.pad_id  # a pad's embedding is never trained
    return {"bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad}


def fast_tokenizer(tokenizer: TextTokenizer, config: TrialConfig) -> PreTrainedTokenizerFast:
    """Return the tokenizer for transformers, which encodes a text in the way in which the model has learnt to read it.

    In packed rows an eos stands after each row, and so before the next; the tokens that the tokenizer itself would add
    are left out. So a text begins with the eos, as a row did in training. Text that spells a special token is encoded
    as text, as in training.
    """
    encoder = Tokenizer.from_str(tokenizer.encoder.to_str())
    special = special_ids(tokenizer, config)
    if config.tokens.packing == "packed":
        eos = encoder.id_to_token(tokenizer.eos_id)
        encoder.post_processor = processors.TemplateProcessing(
            single=f"{eos} $A", pair=f"{eos} $A {eos} $B", special_tokens=[(eos, tokenizer.eos_id)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=encoder,
        model_max_length=config.tokens.context,
        model_input_names=["input_ids", "attention_mask"],  # a language model of one text takes no token types
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
        **{name.removesuffix("_id"): encoder.id_to_token(i) for name, i in special.items() if i is not None},
    )


def _check_loads(folder: Path, model: PreTrainedModel) -> None:
    """Raise InputError unless transformers reads back the weights that were written."""
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    written: dict[str, Any] = model.state_dict()
    same = loaded.keys() == written.keys() and all(torch.equal(loaded[name], written[name]) for name in written)
    require(same, f"--export: {folder} does not read back as it was written: the disk may be damaged; try another.")


def _to_disk(folder: Path) -> None:
    """Sync all files to the disk, with the permissions of the card: those of safetensors only their owner may read."""
    mode = (folder / CARD_FILE).stat().st_mode
    for path in folder.iterdir():
        path.chmod(mode)
    for path in [*folder.iterdir(), folder]:
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
