"""Plan of a trial as data: its name, role, control and settings, and the keys of the blocks and table that it reads.

This module imports neither Ray nor torch, because the command line and the files of a run folder use plans too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from trainable.config import (
    LoopConfig,
    ModelConfig,
    TokensConfig,
    TrialConfig,
    from_dict,
    identity,
    override,
    to_dict,
)
from trainable.record.files import fingerprint, require_folder_name

TEACHER_REPORTS: Final = 20  # while a teacher model trains: how often progress is shown and a checkpoint written
WATCHED_BLOCKS: Final = 8  # training blocks that are evaluated at each of these reports; their loss decides nothing
A_BYTE = {"memory": 1}  # Ray refuses a trial that asks for no resources


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """One trial of a run: its name, role, control, arm and settings."""

    name: str  # readable and unique in the run, e.g. linear-T240-min0.05-L2-s0
    role: str  # names.CONTROL, names.ARM, names.SEARCH or names.CONFIRM
    control: str  # name of the trial that its gain is measured against; its own name for a control
    config: TrialConfig
    arm: str = ""  # name in tables, shared by trials that differ only in seed, fold or depth

    def __post_init__(self) -> None:
        """Check that the names can be folder names, also when they were read from another user's file."""
        for name in (self.name, self.control):
            require_folder_name("trial name", name)

    def to_dict(self) -> dict[str, Any]:
        """Plan as plain values, for trial.json and for Tune."""
        head = {"name": self.name, "role": self.role, "control": self.control, "arm": self.arm}
        return head | {"config": to_dict(self.config)}

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> "TrialPlan":
        """Inverse of `to_dict`."""
        return cls(**{**tree, "config": from_dict(tree["config"])})


def data_key(config: TrialConfig) -> str:
    """Fingerprint of the token blocks that a trial reads: equal keys mean equal blocks."""
    tree = identity(config)
    return fingerprint([tree["corpus"], tree["tokens"]])


def table_key(config: TrialConfig) -> str:
    """Fingerprint of the teacher table that a trial learns from: equal keys mean equal tables."""
    trained = [identity(teacher_run(config))] if config.teacher.kind == "model" else []
    return fingerprint([data_key(config), *config.teacher.table_settings, *trained])


def teacher_run(config: TrialConfig) -> TrialConfig:
    """Settings of the run that trains a teacher of kind model: the student's loop, blocks and batches, no teacher.

    They hold only what shapes that model, so that all trials of a sweep share one teacher. The model has an output bias
    that starts at the log unigram: without one, a narrow model spends its first hundreds of steps on token frequencies.
    """
    model, loop = config.teacher.model, config.loop
    every = max(1, model.steps // TEACHER_REPORTS)
    return TrialConfig(
        tokens=TokensConfig(context=config.tokens.context),
        model=ModelConfig(layers=model.layers, hidden=model.hidden, output_bias="unigram"),
        optimizer=replace(config.optimizer, lr=model.lr, warmup_steps=model.steps // 10),
        loop=LoopConfig(
            steps=model.steps,
            batch_blocks=loop.batch_blocks,
            accumulation=loop.accumulation,
            eval_every=every,
            checkpoint_every=every,
            precision=loop.precision,
            device=loop.device,
        ),
    )


def placed(config: TrialConfig, places: Mapping[str, str]) -> TrialConfig:
    """Return a copy of the config with the present places of corpus and tokenizer, for reading them only.

    places: {place in the config: present place}. Keys and fingerprints of the trial are still made from the original
    config.
    """
    named = {"corpus.source": config.corpus.source, "tokens.tokenizer": config.tokens.tokenizer}
    return override(config, {key: places[name] for key, name in named.items() if name in places})


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Resources of one trial; several workers of a trial train one model together."""

    cpus: float = 1  # of each worker; also its number of threads
    gpus: float = 0  # of each worker; with a fraction, workers of several trials share a GPU
    workers: int = 1

    @property
    def of_worker(self) -> dict[str, float]:
        """Return {resource: amount that a worker asks for}, with Ray's names of resources."""
        return {resource: wanted for resource, wanted in (("CPU", self.cpus), ("GPU", self.gpus)) if wanted > 0}

    @property
    def reserved(self) -> dict[str, float]:
        """Resources that Tune reserves for a trial; for several workers Ray Train reserves them instead."""
        return self.of_worker if self.workers == 1 else dict(A_BYTE)

    @property
    def actors_reusable(self) -> bool:
        """Whether a process may run several trials in turn, which saves imports, CUDA's start and compilation.

        Several workers of a trial end with it. A process whose trial ended with an error is not used again, as its
        CUDA state may be broken.
        """
        return self.workers == 1

    def slots(self, has: Mapping[str, float]) -> int:
        """Number of trials that a cluster with these resources runs at once; at least 1, as a cluster may grow."""
        fitting = [int(has.get(resource, 0) / wanted) // self.workers for resource, wanted in self.of_worker.items()]
        return max(1, min(fitting))
