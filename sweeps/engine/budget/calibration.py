"""Measure a run's trials on this machine: each shape once, in as many processes as trials will run at once.

A shape is all settings that decide the cost of a step: model, depth, vocabulary, batch, precision, kind of teacher. Of
several depths only the least and the greatest are measured; those between are interpolated. A model that teaches is
trained and asked before the first trial, in one process with all of PyTorch's threads, and is measured in this way. The
making of tables is timed in this process.
"""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import mean
from typing import Any, BinaryIO, cast

from numpy.typing import NDArray

from sweeps.engine.budget.data_size import DataSize
from sweeps.engine.budget.measure import MOST_REPORTS, WARM_REPORTS, Rate, Task
from sweeps.engine.budget.stand_in import drawn_text, stand_in_blocks, stand_in_table
from sweeps.engine.cluster.ray_start import Machine
from sweeps.engine.preflight import usable_cpus
from sweeps.engine.specs.spec import Spec
from trainable.config import CorpusConfig, OptimizerConfig, TeacherConfig, TeacherModelConfig, TrialConfig
from trainable.plan import Needs, teacher_run
from trainable.student.run_data import RunData
from trainable.teacher.teacher import Table

SECONDS = 8.0  # of measuring in all, shared by the shapes
LEAST_SECONDS = 0.6  # of measuring one shape
COSTS_LIKE = {"unigram": "uniform", "shuffled": "bigram"}  # {kind of teacher: kind whose tables have the same form}
EVERY_ON_GPU = 10  # steps between two readings of the clock, each of which waits for the GPU


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Measured times of a run's trials on this machine."""

    slots: int  # number of trials that run at once
    imports: float  # seconds of processor time that a trial's process takes to import PyTorch and Ray
    reused: bool  # whether a process runs trial after trial
    of_shape: Mapping[TrialConfig, Rate]  # rates of the measured shapes
    of_teacher: Mapping[TrialConfig, Rate]  # rates of models that teach, by teacher_shape
    of_table: Mapping[TeacherConfig, float]  # seconds of making a table per token of text, by table_shape

    def of(self, config: TrialConfig, guided: bool) -> Rate:
        """Rate of a trial with these settings: of its guided steps, or of its plain ones."""
        shape = shape_of(config, guided)
        if shape in self.of_shape:
            return self.of_shape[shape]
        alike = _at_depth(shape, 1)
        near = {one.model.layers: rate for one, rate in self.of_shape.items() if _at_depth(one, 1) == alike}
        low, high = min(near), max(near)
        share = (shape.model.layers - low) / (high - low)
        between = {key: (1 - share) * value + share * vars(near[high])[key] for key, value in vars(near[low]).items()}
        return Rate(**between)


class CannotMeasure(Exception):
    """Raised if the time of a run cannot be predicted; the reason is the end of a sentence."""


def check_measurable(machine: Machine) -> None:
    """Raise CannotMeasure unless each trial runs as one process of this machine."""
    if machine.cluster:
        raise CannotMeasure(f"this machine would be measured, and the trials run on the cluster at {machine.cluster}")
    if machine.workers_per_trial > 1:
        raise CannotMeasure("what workers of one trial send each other is not measured")


def calibrate(spec: Spec, machine: Machine, size: DataSize) -> Rates:
    """Measure all shapes of a run. Raises CannotMeasure if that cannot be done here."""
    check_measurable(machine)
    needs, slots = _needs(machine)
    configs = [load.config for load in spec.workloads()]
    shapes = list(extremes(shape_of(config, guided) for config in configs for guided in phases(config)))
    prepared = [config for config in spec.configs() if config.teacher.has_table]
    models = {teacher_shape(config) for config in prepared if config.teacher.kind == "model"}
    tables = {table_shape(config) for config in prepared if config.teacher.kind != "model"}
    seconds = max(LEAST_SECONDS, SECONDS / (len(shapes) + len(models)))
    with _processes(slots, needs) as processes:
        text_N = drawn_text(size.vocab_size, size.train_tokens)  # meanwhile the processes import PyTorch
        imports = _answers(processes)
        bench = _Bench(processes=processes, needs=needs, size=size, text_N=text_N, seconds=seconds)
        return Rates(
            slots=slots,
            imports=mean(imports),
            reused=needs.actors_reusable,
            of_shape={shape: bench.trials(shape) for shape in shapes},
            of_teacher={shape: bench.teacher(shape) for shape in models},
            of_table={teacher: bench.table(teacher)[1] for teacher in tables},
        )


def shape_of(config: TrialConfig, guided: bool) -> TrialConfig:
    """The settings, with fixed values for all without effect on the cost of a step; if guided, all steps are."""
    teacher = TeacherConfig()
    if guided:
        shape = table_shape(config)
        kind = COSTS_LIKE.get(shape.kind, shape.kind)
        teacher = replace(shape, kind=kind, schedule="linear", steps=1, min_weight=1.0)
    loop = replace(config.loop, steps=MOST_REPORTS, eval_every=1, checkpoint_every=WARM_REPORTS, keep_checkpoint=False)
    optimizer = OptimizerConfig(warmup_steps=1)
    return replace(config, corpus=CorpusConfig(), teacher=teacher, optimizer=optimizer, loop=loop, seed=0)


def table_shape(config: TrialConfig) -> TeacherConfig:
    """The teacher's settings, with fixed values for all that do not change the cost of making its table."""
    return replace(
        config.teacher, schedule="none", steps=0, min_weight=0.0, tau=None, rows="student", model=model_shape(config)
    )


def model_shape(config: TrialConfig) -> TeacherModelConfig:
    """The settings of the model that teaches, with its steps and learning rate at their defaults."""
    own = TeacherModelConfig()
    return replace(config.teacher.model, steps=own.steps, lr=own.lr)


def teacher_shape(config: TrialConfig) -> TrialConfig:
    """Shape of the run that trains the model of the config's teacher; its `teacher` says how the model is asked."""
    asked = TeacherConfig(kind="model", model=model_shape(config))
    return replace(shape_of(teacher_run(config), guided=False), teacher=asked)


def phases(config: TrialConfig) -> tuple[bool, ...]:
    """The values of `guided` to measure for a trial: a control has only plain steps, any other trial may have both."""
    return (False,) if config.teacher.schedule == "none" else (False, True)


def extremes(shapes: Iterable[TrialConfig]) -> Iterator[TrialConfig]:
    """Yield the shapes of least and greatest depth among shapes that differ only in depth."""
    alike: dict[TrialConfig, set[int]] = {}
    for shape in shapes:
        alike.setdefault(_at_depth(shape, 1), set()).add(shape.model.layers)
    for shape, depths in alike.items():
        yield from (_at_depth(shape, layers) for layers in sorted({min(depths), max(depths)}))


def _at_depth(shape: TrialConfig, layers: int) -> TrialConfig:
    return replace(shape, model=replace(shape.model, layers=layers))


def _needs(machine: Machine) -> tuple[Needs, int]:
    """Resources of a trial, and the number of trials that run at once."""
    import torch

    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = min(1.0, found) if machine.gpus_per_trial is None else machine.gpus_per_trial
    if gpus > found:
        raise CannotMeasure(f"a trial asks for {gpus:g} GPUs and this process sees {found}")
    needs = Needs(cpus=machine.cpus_per_trial, gpus=gpus)
    return needs, needs.slots({"CPU": machine.cpus or usable_cpus(), "GPU": found})


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """Processes that wait for tasks, and stand-in data of a run, to measure shapes with."""

    processes: Sequence["subprocess.Popen[bytes]"]  # as many as trials will run at once
    needs: Needs
    size: DataSize
    text_N: NDArray[Any]  # drawn tokens, as dense in n-grams as the text
    seconds: float  # of measuring one shape
    tables: dict[TeacherConfig, tuple[Table | None, float]] = field(default_factory=dict)  # made so far

    def trials(self, shape: TrialConfig) -> Rate:
        """Mean rate of a shape, measured in all processes at once."""
        return self._measured(self.processes, shape, threads=max(1, int(self.needs.cpus)))

    def teacher(self, shape: TrialConfig) -> Rate:
        """Rate of a model that teaches, measured in one process with as many threads as PyTorch has in this one."""
        import torch

        return self._measured(self.processes[:1], shape, threads=torch.get_num_threads(), teaches=True)

    def table(self, teacher: TeacherConfig) -> tuple[Table | None, float]:
        """A table made of counts, and the seconds per token of text that making it takes in this process."""
        if teacher not in self.tables:
            no_blocks = stand_in_blocks(self.size.vocab_size, context=1, blocks=1, seed=1)
            begun = time.perf_counter()
            table = stand_in_table(teacher, self.text_N, no_blocks)
            self.tables[teacher] = table, (time.perf_counter() - begun) / len(self.text_N)
        return self.tables[teacher]

    def _measured(
        self,
        processes: Sequence["subprocess.Popen[bytes]"],
        shape: TrialConfig,
        threads: int,
        teaches: bool = False,
    ) -> Rate:
        """Mean rate of a shape, measured in the given processes at once."""
        times, config = self._on_the_clock(shape)
        loop, vocab_size, context = config.loop, self.size.vocab_size, shape.tokens.context
        train = stand_in_blocks(vocab_size, context, loop.steps * loop.batch_blocks * loop.accumulation, seed=1)
        held_out = stand_in_blocks(vocab_size, context, min(loop.eval_batch_blocks, self.size.eval_blocks), seed=2)
        table = None
        if shape.teacher.schedule != "none":
            answers = shape.teacher.kind == "model"  # answers belong to these blocks
            table = stand_in_table(shape.teacher, self.text_N, train) if answers else self.table(table_shape(shape))[0]
        data = RunData(train=train, eval=held_out, table=table)
        task = pickle.dumps(Task(config=config, data=data, seconds=self.seconds, threads=threads, teaches=teaches))
        try:
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(task)
                process.stdin.flush()
        except OSError as error:
            raise CannotMeasure("a measuring process has ended") from error
        rates = _answers(processes)
        average = {key: mean(getattr(rate, key) for rate in rates) for key in vars(rates[0])}
        return Rate(**{**average, "step": times * average["step"]})

    def _on_the_clock(self, shape: TrialConfig) -> tuple[int, TrialConfig]:
        """Return the number of measured steps in a step of a shape, and the settings to measure the shape with."""
        loop = shape.loop
        if self.needs.gpus:  # each reading of the clock waits for the GPU
            n = EVERY_ON_GPU
            loop = replace(loop, steps=n * loop.steps, eval_every=n, checkpoint_every=n * loop.checkpoint_every)
            return 1, replace(shape, loop=loop)
        # micro-batches run one after the other, so the time of one is measured
        return loop.accumulation, replace(shape, loop=replace(loop, accumulation=1))


@contextmanager
def _processes(number: int, needs: Needs) -> "Iterator[list[subprocess.Popen[bytes]]]":
    """Processes that wait for tasks; each has the CPUs and the GPU of a trial."""
    path = [entry for entry in sys.path if entry]
    code = f"import sys; sys.path[:] = {path!r}; from sweeps.engine.budget.measure import serve; serve()"
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    processes = []
    try:
        for i in range(number):
            place = int(i * needs.gpus)
            device = devices[place] if place < len(devices) and devices[0] else str(place)
            more = {"CUDA_VISIBLE_DEVICES": device} if needs.gpus else {}
            environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, int(needs.cpus))), **more}
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", code],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                )
            )
        yield processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _answers(processes: Sequence["subprocess.Popen[bytes]"]) -> list[Any]:
    """The next answer of each process."""
    try:
        answers = [pickle.load(cast("BinaryIO", process.stdout)) for process in processes]
    except (EOFError, pickle.UnpicklingError) as error:
        raise CannotMeasure("a measuring process has ended, perhaps for lack of memory") from error
    if failed := [answer for answer in answers if isinstance(answer, str)]:
        raise CannotMeasure(f"its first steps failed ({failed[0]})")
    return answers
