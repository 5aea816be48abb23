"""Check that a run can go on: with the same settings, the same data (also at another path), and enough room.

A run knows its corpus and its tokenizer by their fingerprints; the paths in its spec only say where they were. So the
user gives the new path of a moved file by --corpus or --tokenizer, and a file with other content is refused here.
"""

import glob
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from sweeps.engine.checks import check_inputs
from sweeps.engine.cluster.ray_start import Machine
from sweeps.engine.folder import RunFolder
from sweeps.engine.options import NAMES, absolute
from sweeps.engine.preflight import usable_cpus
from sweeps.engine.specs.spec import Spec, with_precision
from trainable.errors import InputError, require
from trainable.plan import Needs, placed
from trainable.student.config_keys import model_fingerprint
from trainable.text.corpus import open_corpus
from trainable.text.sources.files import form_of
from trainable.text.tokenizer.tokenizer import given_tokenizer, is_trained

_ABSENT = "nothing"


def check_same(folder: RunFolder, spec: Spec) -> Spec:
    """Return the spec of a begun run, if the options describe the same run; paths of moved files may differ.

    Raises InputError if any other setting differs.
    """
    begun = folder.spec()
    here = moved(begun, spec.base.corpus.source, spec.base.tokens.tokenizer)
    again = with_precision(spec, begun.base.loop.precision)  # auto means what it meant when the run began
    difference = first_difference(_named_anew(begun.to_dict(), here), again.to_dict())
    if difference is not None:
        key, was, now = difference
        raise InputError(
            f"run {folder.address} was begun with other settings ({key} was {shortened(was)}, now {shortened(now)}): "
            "give the same options again, or another --run."
        )
    return begun


def moved(spec: Spec, corpus: str | None, tokenizer: str | None) -> dict[str, str]:
    """{path in the spec: path now} of the files that are named now; no tokenizer if the run trains its own."""
    base = spec.base
    pairs = [(base.corpus.source, corpus)]
    if not is_trained(base.tokens.tokenizer):
        pairs.append((base.tokens.tokenizer, tokenizer))
    return {was: now for was, now in pairs if now is not None}


def check_data(
    folder: RunFolder, spec: Spec, corpus: str | None, tokenizer: str | None
) -> tuple[dict[str, str], list[str]]:
    """Return {path in the spec: path now} of files that have moved since a run began, and lines for the plan on all.

    Paths in the options take precedence over those in run.json. Raises InputError if a file is gone, or is not the one
    that the trials used.
    """
    record, base = folder.record(), spec.base
    require(
        tokenizer is None or tokenizer == base.tokens.tokenizer or not is_trained(base.tokens.tokenizer),
        f"--tokenizer beside --resume: run {folder.address} trains its own ({base.tokens.tokenizer}), which cannot be "
        "exchanged: leave it out.",
    )
    places = {**(record.places or {}), **moved(spec, *(name and str(absolute(name)) for name in (corpus, tokenizer)))}
    places = {was: now for was, now in places.items() if now != was}
    now = placed(base, places)
    _require_there(folder, "corpus", now.corpus.source, "say where it lies now with --corpus")
    _require_there(folder, "tokenizer", now.tokens.tokenizer, "say where it lies now with --tokenizer")
    _require_there(folder, "model", now.model.name, "put it, or a link to it, back there")
    told = check_inputs(spec, places)
    require_unchanged(folder, "corpus", record.corpus.fingerprint, open_corpus(now.corpus).fingerprint)
    if not is_trained(now.tokens.tokenizer):
        tokenizer_now = given_tokenizer(now.tokens.tokenizer, now.tokens.eos)
        require_unchanged(folder, "tokenizer", record.tokenizer.fingerprint, tokenizer_now.fingerprint)
    if record.model is not None and base.model.name not in NAMES:  # older records lack it
        require_unchanged(folder, "model", record.model, model_fingerprint(base.model.name))
    return places, told


def remember(folder: RunFolder, places: Mapping[str, str]) -> None:
    """Write the present paths of moved files of the spec to run.json."""
    record = folder.record()
    if (record.places or {}) != places:
        folder.write_record(replace(record, places=places or None))


def require_unchanged(folder: RunFolder, part: str, was: str, is_now: str) -> None:
    """Raise InputError unless a part of the data has the fingerprint that it had for the trials of the run."""
    require(
        was == is_now,
        f"the {part} of run {folder.address} is no longer what its trials used ({was}, now {is_now}): restore it, "
        "or start a new run.",
    )


def check_resumable(folder: RunFolder, spec: Spec, machine: Machine) -> None:
    """Raise InputError if a resumed run could not write, is locked by another driver, or lacks room for the rest."""
    folder.files.check_writable()
    with folder.locked():
        from sweeps.engine.room import RoomWatch  # imports torch, to know how large a model is

        sizes = folder.record().tokenizer.vocab_size
        gpus = machine.gpus_per_trial or 0
        needs = Needs(cpus=machine.cpus_per_trial, gpus=gpus, workers=machine.workers_per_trial)
        slots = needs.slots({"CPU": machine.cpus or usable_cpus(), "GPU": gpus * machine.workers_per_trial})
        RoomWatch(folder, spec, lambda config: sizes, slots).check_before()


def _require_there(folder: RunFolder, part: str, name: str, remedy: str) -> None:
    """Raise InputError if a file does not exist; a kept run has only the names of its files, such as books.parquet.

    Names that are not those of files, such as hub ids, are checked when they are opened.
    """
    is_file = Path(name).is_absolute() or form_of(Path(name)) is not None
    gone = is_file and not Path(name).exists() and not glob.glob(name)  # noqa: PTH207  (a whole pattern)
    require(not gone, f"the {part} of run {folder.address} is not at {name} any more: {remedy}.")


def _named_anew(tree: Any, places: Mapping[str, str]) -> Any:
    """A spec as plain values, with the paths of moved files replaced."""
    if isinstance(tree, Mapping):
        return {
            key: places.get(value, value)
            if key in ("source", "tokenizer") and isinstance(value, str)
            else _named_anew(value, places)
            for key, value in tree.items()
        }
    return [_named_anew(one, places) for one in tree] if isinstance(tree, list) else tree


def shortened(value: Any) -> str:
    """A value as text, cut to fit into a sentence."""
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class Difference(NamedTuple):
    """A dotted key whose value differs between two specs, with both values."""

    key: str
    was: Any
    now: Any


def first_difference(was: Any, now: Any, key: str = "") -> Difference | None:
    """The first place where two trees of plain values differ; None if they are equal."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        parts = [(f"{key}.{name}" if key else name, name) for name in {**was, **now}]
        pairs = [(path, was.get(name, _ABSENT), now.get(name, _ABSENT)) for path, name in parts]
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        pairs = [(f"{key}[{i}]", *pair) for i, pair in enumerate(zip(was, now, strict=True))]
    else:
        return None if was == now else Difference(key, was, now)
    found = (first_difference(one, other, path) for path, one, other in pairs)
    return next((difference for difference in found if difference is not None), None)
