"""Load a trained model from a folder, unchanged: any architecture of transformers, with this run's tokenizer.

A teacher with other tokens than the student cannot teach it, so the folder must hold a tokenizer.json that makes the
same tokens from a text. Special tokens around a text may differ, because blocks are made without them.
"""

import json
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from trainable.errors import InputError, first_line, require
from trainable.record.files import fingerprint, sha256_of_file
from trainable.text.tokenizer.special_tokens import TOKENIZER_FILE
from trainable.text.tokenizer.tokenizer import TextTokenizer

_READ: Final = ("config.json", TOKENIZER_FILE, "*.safetensors", "*.bin")
_SHAPING: Final = ("model", "normalizer", "pre_tokenizer")  # parts of a tokenizer.json that decide the tokens of a text


def require_model_folder(folder: Path) -> None:
    """Raise InputError if the folder cannot be a model folder, because it has no config.json."""
    require(
        (folder / "config.json").is_file(),
        f"teacher.model.folder is {folder}, which has no config.json: give a folder that save_pretrained wrote.",
    )


def folder_fingerprint(folder: Path) -> str:
    """Fingerprint of the files that decide the answers of the model in a folder."""
    require_model_folder(folder)
    files = sorted({path for pattern in _READ for path in folder.glob(pattern)})
    return fingerprint({path.name: sha256_of_file(path) for path in files})


def given_model(folder: Path, tokenizer: TextTokenizer, context: int) -> torch.nn.Module:
    """Load the model of a folder, in float32. Raises InputError if that fails, or if it does not fit the tokens."""
    _require_same_tokens(folder, tokenizer)
    model = load_model(folder)
    rows = model.get_output_embeddings().weight.shape[0]
    require(
        rows >= tokenizer.vocab_size,
        f"the teacher's model in {folder} has {rows} output rows but the tokenizer has {tokenizer.vocab_size} tokens: "
        "give a model that was trained with this tokenizer.",
    )
    longest = getattr(model.config, "max_position_embeddings", context)
    require(
        longest >= context,
        f"the teacher's model in {folder} reads {longest} tokens at most but blocks have {context}: lower "
        "tokens.context.",
    )
    loaded: torch.nn.Module = model
    return loaded


def load_model(folder: Path) -> Any:
    """Load the model of a folder, in float32, with any tokenizer. Raises InputError if it cannot be loaded."""
    logging.disable_progress_bar()
    try:
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
    except Exception as error:  # transformers raises many kinds of error
        raise InputError(
            f"the teacher's model in {folder} cannot be loaded ({first_line(error)}): repair the folder."
        ) from None
    missing = sorted(loading["missing_keys"])
    require(not missing, f"the teacher's model in {folder} lacks the weights {', '.join(missing[:3])}: save it whole.")
    head = model.get_output_embeddings()
    biases = [f"{name}.bias" for name, module in model.named_modules() if module is head]
    require(
        set(biases).isdisjoint(loading["unexpected_keys"]),
        f"the teacher's model in {folder} has an output bias, for which its architecture has no place: give a model "
        "without one.",  # transformers would drop the bias, and the answers would be another model's
    )
    return model


def _require_same_tokens(folder: Path, tokenizer: TextTokenizer) -> None:
    """Raise InputError unless the folder's tokenizer makes the same tokens from a text."""
    path = folder / TOKENIZER_FILE
    require(
        path.is_file(),
        f"the teacher's model in {folder} has no {TOKENIZER_FILE}, so its tokens are not known: save its tokenizer "
        "there.",
    )
    try:
        theirs = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise InputError(f"{path} is not a whole tokenizer file ({first_line(error)}): save it again.") from None
    require(
        _shaping(theirs) == _shaping(tokenizer.encoder),
        f"the teacher's model in {folder} has another tokenizer than this run: set tokens.tokenizer={folder}, or give "
        "a model that was trained with the run's tokenizer.",
    )


def _shaping(encoder: Tokenizer) -> dict[str, Any]:
    """Parts of a tokenizer that decide the tokens of a text and their ids."""
    tree = json.loads(encoder.to_str())
    tree["model"] = {key: value for key, value in tree["model"].items() if key != "dropout"}
    return {key: tree.get(key) for key in _SHAPING} | {"ids": encoder.get_vocab(with_added_tokens=True)}
