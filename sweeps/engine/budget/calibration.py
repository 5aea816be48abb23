"""Measure what trials of a run take on this machine: each shape once, in as many processes as trials will run at once.

A shape is all that decides what a step costs: model, depth, vocabulary, batch, precision, kind of teacher. Of several
depths the least and the greatest are measured, those between are interpolated.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any, BinaryIO, cast

from sweeps.engine.budget.data_size import DataSize
from sweeps.engine.budget.measure import MOST_REPORTS, WARM_REPORTS, Rate, Task
from sweeps.engine.budget.stand_in import drawn_counts, stand_in_blocks, stand_in_table
from sweeps.engine.cluster.ray_start import Machine
from sweeps.engine.preflight import usable_cpus
from sweeps.engine.specs.spec import Spec
from trainable.config import CorpusConfig, OptimizerConfig, TeacherConfig, TrialConfig
from trainable.plan import Needs
from trainable.student.train import RunData
from trainable.teacher.counts import BigramCounts

SECONDS = 8.0  # of measuring, shared by the shapes
LEAST_SECONDS = 0.6  # of a shape
COSTS_LIKE = {"unigram": "uniform", "shuffled": "bigram"}  # kinds of teachers whose tables have the same form
EVERY_ON_GPU = 10  # steps between two looks at the clock, each of which waits for the GPU


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What this machine takes for the trials of a run."""

    slots: int  # trials at a time
    imports: float  # seconds of processor time that a trial's process takes to import PyTorch and Ray
    reused: bool  # whether a process runs trial after trial
    of_shape: Mapping[TrialConfig, Rate]  # of the shapes that were measured

    def of(self, config: TrialConfig, guided: bool) -> Rate:
        """The rate of a trial of these settings, with or without its teacher."""
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
    """Why no prediction can be made of a run, as the end of a sentence."""


def check_measurable(machine: Machine) -> None:
    """Raise CannotMeasure where the trials do not run as processes of this machine."""
    if machine.cluster:
        raise CannotMeasure(f"this machine would be measured, and the trials run on the cluster at {machine.cluster}")
    if machine.workers_per_trial > 1:
        raise CannotMeasure("what workers of one trial send each other is not measured")


def calibrate(spec: Spec, machine: Machine, size: DataSize) -> Rates:
    """Measure all shapes of a run. Raises CannotMeasure where that cannot be done here."""
    check_measurable(machine)
    needs, slots = _needs(machine)
    configs = [load.config for load in spec.workloads()]
    shapes = list(extremes(shape_of(config, guided) for config in configs for guided in phases(config)))
    seconds = max(LEAST_SECONDS, SECONDS / len(shapes))
    with _processes(slots, needs) as processes:
        counts = drawn_counts(size.vocab_size, size.train_tokens)  # while they import PyTorch
        imports = _answers(processes)
        of_shape = {shape: _measured(processes, shape, size, counts, seconds, needs) for shape in shapes}
    return Rates(slots=slots, imports=mean(imports), reused=needs.actors_reusable, of_shape=of_shape)


def shape_of(config: TrialConfig, guided: bool) -> TrialConfig:
    """The settings with all that costs nothing taken out; the teacher, where there is one, speaks at each step."""
    teacher = TeacherConfig()
    if guided:
        kind = COSTS_LIKE.get(config.teacher.kind, config.teacher.kind)
        teacher = replace(
            config.teacher, kind=kind, schedule="linear", steps=1, min_weight=1.0, tau=None, rows="student"
        )
    loop = replace(config.loop, steps=MOST_REPORTS, eval_every=1, checkpoint_every=WARM_REPORTS, keep_checkpoint=False)
    optimizer = OptimizerConfig(warmup_steps=1)
    return replace(config, corpus=CorpusConfig(), teacher=teacher, optimizer=optimizer, loop=loop, seed=0)


def phases(config: TrialConfig) -> tuple[bool, ...]:
    """Whether the steps of a trial are guided: none of a control's, the first or all of any other's."""
    return (False,) if config.teacher.schedule == "none" else (False, True)


def extremes(shapes: Iterable[TrialConfig]) -> Iterator[TrialConfig]:
    """Those of the least and the greatest depth among shapes that differ in nothing else."""
    alike: dict[TrialConfig, set[int]] = {}
    for shape in shapes:
        alike.setdefault(_at_depth(shape, 1), set()).add(shape.model.layers)
    for shape, depths in alike.items():
        yield from (_at_depth(shape, layers) for layers in sorted({min(depths), max(depths)}))


def _at_depth(shape: TrialConfig, layers: int) -> TrialConfig:
    return replace(shape, model=replace(shape.model, layers=layers))


def _needs(machine: Machine) -> tuple[Needs, int]:
    """What a trial asks for, and how many run at once."""
    import torch

    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = min(1.0, found) if machine.gpus_per_trial is None else machine.gpus_per_trial
    if gpus > found:
        raise CannotMeasure(f"a trial asks for {gpus:g} GPUs and this process sees {found}")
    needs = Needs(cpus=machine.cpus_per_trial, gpus=gpus)
    return needs, needs.slots({"CPU": machine.cpus or usable_cpus(), "GPU": found})


def _measured(
    processes: Sequence["subprocess.Popen[bytes]"],
    shape: TrialConfig,
    size: DataSize,
    counts: BigramCounts,
    seconds: float,
    needs: Needs,
) -> Rate:
    """The mean rate of all processes at work on one shape."""
    loop, context = shape.loop, shape.tokens.context
    times = 1
    if needs.gpus:  # each look at the clock waits for the GPU
        every = EVERY_ON_GPU
        loop = replace(loop, steps=every * loop.steps, eval_every=every, checkpoint_every=every * loop.checkpoint_every)
    else:  # a micro-batch after the other takes as many times the time of one
        times, loop = loop.accumulation, replace(loop, accumulation=1)
    config = replace(shape, loop=loop)
    train = stand_in_blocks(size.vocab_size, context, loop.steps * loop.batch_blocks * loop.accumulation, seed=1)
    held_out = stand_in_blocks(size.vocab_size, context, min(loop.eval_batch_blocks, size.eval_blocks), seed=2)
    table = None if shape.teacher.schedule == "none" else stand_in_table(shape.teacher, counts, train)
    data = RunData(train=train, eval=held_out, table=table)
    task = pickle.dumps(Task(config=config, data=data, seconds=seconds, threads=max(1, int(needs.cpus))))
    try:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(task)
            process.stdin.flush()
    except OSError as error:
        raise CannotMeasure("a process that measures it has ended") from error
    rates = _answers(processes)
    average = {key: mean(getattr(rate, key) for rate in rates) for key in vars(rates[0])}
    return Rate(**{**average, "step": times * average["step"]})


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
        raise CannotMeasure("a process that measures it has ended, perhaps for want of memory") from error
    if failed := [answer for answer in answers if isinstance(answer, str)]:
        raise CannotMeasure(f"its first steps failed ({failed[0]})")
    return answers
