"""What a trial is to do, as data: its name, role, control and settings, and which blocks and table it reads.

Light on purpose: the command line, the sweep's spec and its run folder speak of plans, and need neither Ray nor torch.
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

TEACHER_REPORTS: Final = 20  # of a teacher that is trained itself: how often its bar moves and its weights are kept
A_BYTE = {"memory": 1}  # Ray refuses a trial that asks for nothing


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """One trial of a run: what it is called, what it is for, and its settings."""

    name: str  # readable and unique in the run, e.g. linear-T240-min0.05-L2-s0
    role: str  # names.CONTROL, names.ARM, names.SEARCH or names.CONFIRM
    control: str  # name of the trial its gain is taken against; its own name for a control
    config: TrialConfig
    arm: str = ""  # what a table calls it: trials that differ only in seed, fold or depth share it

    def __post_init__(self) -> None:
        """A name becomes a folder, also one that was read from a file of somebody else's."""
        for name in (self.name, self.control):
            require_folder_name("trial name", name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for trial.json and for Tune."""
        head = {"name": self.name, "role": self.role, "control": self.control, "arm": self.arm}
        return head | {"config": to_dict(self.config)}

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> "TrialPlan":
        """The inverse of `to_dict`."""
        return cls(**{**tree, "config": from_dict(tree["config"])})


def data_key(config: TrialConfig) -> str:
    """Fingerprint of the token blocks that a trial reads: equal keys, equal blocks."""
    tree = identity(config)
    return fingerprint([tree["corpus"], tree["tokens"]])


def table_key(config: TrialConfig) -> str:
    """Fingerprint of the teacher's table that a trial learns from: equal keys, equal tables."""
    trained = [identity(teacher_run(config))] if config.teacher.kind == "model" else []
    return fingerprint([data_key(config), *config.teacher.table_settings, *trained])


def teacher_run(config: TrialConfig) -> TrialConfig:
    """The run that makes a teacher of kind model: the student's loop, blocks and batches, without a teacher.

    Only what shapes that model stands in it, so that all trials of a sweep have one teacher.
    """
    model, loop = config.teacher.model, config.loop
    every = max(1, model.steps // TEACHER_REPORTS)
    return TrialConfig(
        tokens=TokensConfig(context=config.tokens.context),
        model=ModelConfig(layers=model.layers, hidden=model.hidden),
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
    """The config with corpus and tokenizer where they lie now: {name in the config: name now}, for reading alone.

    The config itself goes on to name the trial's data, checkpoint and ledger.
    """
    named = {"corpus.source": config.corpus.source, "tokens.tokenizer": config.tokens.tokenizer}
    return override(config, {key: places[name] for key, name in named.items() if name in places})


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Resources of one trial; where it has several workers, they train one model together."""

    cpus: float = 1  # of a worker, and its threads
    gpus: float = 0  # of a worker; a fraction lets workers of several trials share one
    workers: int = 1

    @property
    def of_worker(self) -> dict[str, float]:
        """{resource: how much of it a worker asks for}, in Ray's words."""
        return {resource: wanted for resource, wanted in (("CPU", self.cpus), ("GPU", self.gpus)) if wanted > 0}

    @property
    def reserved(self) -> dict[str, float]:
        """Resources that Tune sets aside for a trial; those of several workers are set aside by Ray Train."""
        return self.of_worker if self.workers == 1 else dict(A_BYTE)

    @property
    def actors_reusable(self) -> bool:
        """Whether a process may run trial after trial: it saves imports, but would keep CUDA state and workers."""
        return self.gpus == 0 and self.workers == 1

    def slots(self, has: Mapping[str, float]) -> int:
        """How many trials a cluster with these resources can run at once; at least 1, for it may grow."""
        fitting = [int(has.get(resource, 0) / wanted) // self.workers for resource, wanted in self.of_worker.items()]
        return max(1, min(fitting))
