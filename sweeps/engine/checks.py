"""Check a run before anything starts: each check refuses a mistake with one sentence.

Light where possible: PyTorch is imported only to check a model folder or a CUDA device.
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
    """Refuse settings of --set that the study decides itself, because they would change nothing."""
    for key in given:
        if spec.decides(key):
            raise InputError(
                f"--set {key} would change nothing, for study {spec.study} decides it: leave it out, or give the "
                "study's own option (see --help)."
            )


def check_inputs(spec: Spec, places: Mapping[str, str] | None = None) -> list[str]:
    """Open the files that the settings name, so that a wrong path, a damaged file or too few rows are found early.

    places: {path in the spec: path now} of files that have moved. Returns lines for the plan on model, corpus and
    tokenizer.
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
    """Lines for the plan on a given tokenizer, with what it does on a sample of the rows.

    Raises InputError if the tokenizer cannot be used, or cannot read most of the sampled rows.
    """
    if is_trained(base.tokens.tokenizer):
        return []
    tokenizer = given_tokenizer(base.tokens.tokenizer, base.tokens.eos)
    reading = read_sample(tokenizer, corpus)
    return [*tokenizer_lines(tokenizer), *reading_lines(reading, tokenizer)]


def check_device(spec: Spec, options: Options) -> None:
    """Refuse loop.device cuda without a CUDA device here; the nodes of a cluster are not checked, they may have one."""
    if spec.base.loop.device != "cuda" or options.address or os.environ.get("RAY_ADDRESS"):
        return
    import torch

    require(
        torch.cuda.is_available(),
        "loop.device is cuda but PyTorch finds no CUDA device here: use auto or cpu.",
    )


def check_resources(options: Options) -> None:
    """Refuse numbers of workers, CPUs and GPUs that no machine has, or that Ray does not assign."""
    gpus = 0.0 if options.gpus_per_trial is None else options.gpus_per_trial
    workers = options.workers_per_trial
    require(workers >= 1, f"--workers-per-trial is {workers}: give at least 1.")
    require(options.cpus_per_trial > 0, f"--cpus-per-trial is {options.cpus_per_trial:g}: give a positive number.")
    require(gpus >= 0, f"--gpus-per-trial is {gpus:g}: give 0, a fraction, or a whole number.")
    for option, wanted in (("--cpus-per-trial", options.cpus_per_trial), ("--gpus-per-trial", gpus)):
        shared = wanted <= 1 or float(wanted).is_integer()
        require(shared, f"{option} is {wanted:g}: give a whole number, or a fraction below 1.")
    require(
        workers == 1 or gpus == 0 or gpus >= 1,
        f"--gpus-per-trial is {gpus:g} with --workers-per-trial {workers}, but no two workers can share a GPU (NCCL "
        "refuses it): give each a whole one.",
    )
    require(
        workers == 1 or options.dashboard,
        f"--no-dashboard is given with --workers-per-trial {workers}, but after the death of a trial's process Ray "
        "asks the dashboard's server which CPUs are free again: leave out one of the two.",
    )
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
    """Refuse an impossible number of minutes, and options beside --minutes that set the size of the run."""
    if (minutes := options.minutes) is None:
        return
    require(
        0 < minutes <= MOST_MINUTES,  # False for NaN
        f"--minutes is {minutes:g}: give a positive number of minutes, up to {MOST_MINUTES:,} (a year).",
    )
    given = {"--steps": options.steps is not None, "--num-samples": getattr(options, "num_samples", None) is not None}
    given |= {"--set loop.steps": "loop.steps" in free_settings(options), "--smoke-test": options.smoke_test}
    if both := [option for option, is_given in given.items() if is_given]:
        raise InputError(f"--minutes chooses the size of the run, and {both[0]} sets it: leave one of them out.")


def check_shares(spec: Spec, workers: int) -> None:
    """Refuse more workers than a micro-batch has blocks."""
    blocks = spec.base.loop.batch_blocks
    require(
        workers <= blocks,
        f"--workers-per-trial is {workers} but a micro-batch has loop.batch_blocks = {blocks}, and each "
        "worker takes at least one block: give fewer workers, or more blocks.",
    )
