"""A machine on which a plain step takes 0.1 s and a guided one 0.2 s, for the arithmetic of budgets.

A teacher model takes 0.05 s a training step and 0.001 s to answer for a block; a table of counts takes no time.
"""

from dataclasses import replace

from sweeps.engine.budget.calibration import Rates, extremes, phases, shape_of, table_shape, teacher_shape
from sweeps.engine.budget.data_size import DataSize
from sweeps.engine.budget.measure import Rate
from sweeps.engine.specs.spec import Spec
from trainable.plan import data_key

PLAIN = Rate(step=0.1, evaluation=0.01, checkpoint=0.5, start=0.2, warm_up=1.0)
GUIDED = replace(PLAIN, step=0.2)
TEACHING = replace(PLAIN, step=0.05, answer=0.001)


def made_up_rates(spec: Spec, slots: int = 2, reused: bool = True) -> Rates:
    """Rates of all shapes of a run; each layer takes as long as the first one."""
    configs = [load.config for load in spec.workloads()]
    of_shape = {}
    for shape in extremes(shape_of(config, guided) for config in configs for guided in phases(config)):
        rate = PLAIN if shape.teacher.schedule == "none" else GUIDED
        of_shape[shape] = replace(rate, step=rate.step * shape.model.layers)
    return Rates(
        slots=slots,
        imports=4.0,
        reused=reused,
        of_shape=of_shape,
        of_teacher={teacher_shape(config): TEACHING for config in spec.configs() if config.teacher.kind == "model"},
        of_table={table_shape(config): 0.0 for config in spec.configs()},
    )


def made_up_size(spec: Spec, train_blocks: int = 4000, eval_blocks: int = 20) -> DataSize:
    """Data of the given numbers of blocks, prepared in 3 s; no teacher is in the cache."""
    blocks = {data_key(config): (train_blocks, eval_blocks) for config in spec.configs()}
    return DataSize(vocab_size=512, train_tokens=train_blocks * 128, blocks=blocks, seconds=3.0, teachers={})
