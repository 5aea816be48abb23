"""What can be found wrong with a run before anything starts: each check refuses in one sentence.

Light where it can be: PyTorch is imported only for a model folder, or a device, that has to be looked at.
"""

import os
from collections.abc import Mapping
from typing import Any

from sweeps.engine.options import NAMES, Options, free_settings
from sweeps.engine.specs.spec import Spec
from trainable.config import TrialConfig
from trainable.errors import InputError, require
from trainable.plan import placed
from trainable.student.config_keys import key_lines
from trainable.text.corpus import Corpus, open_corpus
from trainable.text.split import split_rows
from trainable.text.tokenizer.reading import read_sample, reading_lines, tokenizer_lines
from trainable.text.tokenizer.tokenizer import given_tokenizer, is_trained, known_vocab_size

MOST_MINUTES = 366 * 24 * 60


def check_effects(spec: Spec, given: Mapping[str, Any]) -> None:
    """Refuse settings of --set that the study decides itself, for they would change nothing."""
    for key in given:
        if spec.decides(key):
            raise InputError(
                f"--set {key} would change nothing, for study {spec.study} decides it: leave it out, or give the "
                "study's own option (see --help)."
            )


def check_inputs(spec: Spec, places: Mapping[str, str] | None = None) -> list[str]:
    """Open what the settings name, so that a wrong path, a damaged file or too few rows cost nothing.

    places: where files of the spec lie that have moved. Returns what the plan says of them.
    """
    base = placed(spec.base, places or {})
    vocab_size = known_vocab_size(base.tokens.tokenizer, base.tokens.eos)
    if base.model.name not in NAMES:  # a folder: reading it imports torch
        from trainable.student.tiny_batch import check_trains

        check_trains(base.model, vocab_size, base.tokens.context, base.loop.precision)
    corpus = open_corpus(base.corpus)
    for part in {config.corpus for config in spec.configs()}:
        split_rows(corpus.rows, part)
    of_model = [] if base.model.name in NAMES else key_lines(base.model.name)
    of_corpus = [f"corpus {corpus.name}: {'; '.join(corpus.notes)}"] if corpus.notes else []
    return [*of_model, *of_corpus, *_check_tokenizer(base, corpus)]


def _check_tokenizer(base: TrialConfig, corpus: Corpus) -> list[str]:
    """Lines of the plan on a given tokenizer: what it does on a sample of the rows.

    Raises InputError where it cannot be used, or reads too little of a corpus that the sample holds whole.
    """
    if is_trained(base.tokens.tokenizer):
        return []
    tokenizer = given_tokenizer(base.tokens.tokenizer, base.tokens.eos)
    reading = read_sample(tokenizer, corpus)
    return [*tokenizer_lines(tokenizer), *reading_lines(reading, tokenizer)]


def check_device(spec: Spec, options: Options) -> None:
    """Refuse loop.device cuda where no worker will find one; a cluster may have what this machine lacks."""
    if spec.base.loop.device != "cuda" or options.address or os.environ.get("RAY_ADDRESS"):
        return
    import torch

    require(
        torch.cuda.is_available(),
        "loop.device is cuda but PyTorch finds no CUDA device here: use auto or cpu.",
    )


def check_resources(options: Options) -> None:
    """Refuse what no machine has, and what Ray does not share out."""
    gpus = 0.0 if options.gpus_per_trial is None else options.gpus_per_trial
    workers = options.workers_per_trial
    require(workers >= 1, f"--workers-per-trial is {workers}: give at least 1.")
    require(options.cpus_per_trial > 0, f"--cpus-per-trial is {options.cpus_per_trial:g}: give a positive number.")
    require(gpus >= 0, f"--gpus-per-trial is {gpus:g}: give 0, a fraction, or a whole number.")
    for option, wanted in (("--cpus-per-trial", options.cpus_per_trial), ("--gpus-per-trial", gpus)):
        shared = wanted <= 1 or float(wanted).is_integer()
        require(shared, f"{option} is {wanted:g}: give a whole number or a fraction of one, as Ray shares them out.")
    cpus = options.cpus
    if cpus is None:
        return
    require(cpus > 0, f"--cpus is {cpus}: give at least 1.")
    asked = f"{options.cpus_per_trial:g}" + f" for each of {workers} workers" * (workers > 1)
    require(
        options.cpus_per_trial * workers <= cpus,
        f"--cpus-per-trial is {asked} but --cpus {cpus}: no trial would ever start; raise --cpus.",
    )


def check_minutes(options: Options) -> None:
    """Refuse a number of minutes that is none, and options that say the size themselves."""
    if (minutes := options.minutes) is None:
        return
    require(
        0 < minutes <= MOST_MINUTES,  # of NaN neither holds
        f"--minutes is {minutes:g}: give a positive number of minutes, up to {MOST_MINUTES:,} (a year).",
    )
    given = {"--steps": options.steps is not None, "--num-samples": getattr(options, "num_samples", None) is not None}
    given |= {"--set loop.steps": "loop.steps" in free_settings(options), "--smoke-test": options.smoke_test}
    if both := [option for option, is_given in given.items() if is_given]:
        raise InputError(f"--minutes chooses the size of the run, and {both[0]} says it: leave one of them out.")


def check_shares(spec: Spec, workers: int) -> None:
    """Refuse more workers than a micro-batch has blocks to share out."""
    blocks = spec.base.loop.batch_blocks
    require(
        workers <= blocks,
        f"--workers-per-trial is {workers} but a micro-batch has loop.batch_blocks = {blocks}: raise the one "
        "or lower the other.",
    )
