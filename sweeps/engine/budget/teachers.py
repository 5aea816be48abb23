"""Predict how long the teachers of a run take before its first trial; they are prepared one after the other.

- A teacher in the cache takes as long as it took to find it (data_size.py).
- A table of counts takes the measured time per token, times the tokens.
- A model is trained and asked. Training takes its measured step, times its steps. Asking takes its measured answer to a
  block, times all training blocks, and the validation blocks on which its losses are reported.
"""

import math

from sweeps.engine.budget.calibration import Rates, table_shape, teacher_shape
from sweeps.engine.budget.data_size import DataSize, teacher_key
from sweeps.engine.budget.measure import Rate
from sweeps.engine.specs.spec import Spec
from trainable.config import TrialConfig, override
from trainable.plan import WATCHED_BLOCKS, data_key, table_key, teacher_run


def teachers_seconds(spec: Spec, rates: Rates, size: DataSize) -> float:
    """Seconds of preparing all teachers of a run, each once, however many trials and validation texts share it."""
    # 1 teachers in the cache
    wanted = {teacher_key(config): config for config in spec.configs() if config.teacher.has_table}
    seconds = sum(size.teachers[key] for key in wanted if key in size.teachers)

    # 2 tables of counts
    missing = [config for key, config in wanted.items() if key not in size.teachers]
    counted = [config for config in missing if config.teacher.kind != "model"]
    seconds += sum(rates.of_table[table_shape(config)] * size.train_tokens for config in counted)

    # 3 models: trained once, whatever their top_k; asked once for each top_k
    asked = [config for config in missing if config.teacher.kind == "model"]
    trained = {teacher_key(override(config, {"teacher.model.top_k": 1})): config for config in asked}
    seconds += sum(training_seconds(config, rates.of_teacher[teacher_shape(config)]) for config in trained.values())
    for config in asked:
        blocks, _ = size.blocks[data_key(config)]
        seconds += blocks * rates.of_teacher[teacher_shape(config)].answer

    # 4 losses of the models on each validation text
    for config in {table_key(config): config for config in spec.configs() if config.teacher.kind == "model"}.values():
        if teacher_key(config) not in size.teachers:
            _, eval_blocks = size.blocks[data_key(config)]
            seconds += eval_blocks * rates.of_teacher[teacher_shape(config)].answer
    return seconds


def training_seconds(config: TrialConfig, rate: Rate) -> float:
    """Seconds of training the model of a config's teacher; 0 for a model from a folder, which is not trained."""
    if config.teacher.model.folder:
        return 0.0
    loop = teacher_run(config).loop
    seconds = rate.start + rate.warm_up + loop.steps * rate.step
    seconds += (1 + math.ceil(loop.steps / loop.eval_every)) * WATCHED_BLOCKS * rate.evaluation
    return seconds + math.ceil(loop.steps / loop.checkpoint_every) * rate.checkpoint
