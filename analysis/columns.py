"""Names of the columns of the two tables, trials and curves, once. What each column means: results/README.md."""

from typing import Final

from trainable import names

# Columns that only the trials table has. The last report's own values keep their names from trainable.names.
TRIAL: Final = "trial"
ROLE: Final = "role"
ARM: Final = "arm"
CONTROL_NAME: Final = "control"
STATE: Final = "state"
REASON: Final = "reason"
SECONDS_PER_STEP: Final = "seconds_per_step"
STEPS_TO_CONTROL: Final = "steps_to_control"
STEPS_SAVED: Final = "steps_saved"
SECONDS_TO_CONTROL: Final = "seconds_to_control"
SECONDS_SAVED: Final = "seconds_saved"
# Settings that every study varies, by their dotted keys.
LAYERS: Final = "model.layers"
SCHEDULE: Final = "teacher.schedule"
TEACHER_STEPS: Final = "teacher.steps"
MIN_WEIGHT: Final = "teacher.min_weight"
SEED: Final = "seed"
LOOP_STEPS: Final = "loop.steps"
PRECISION: Final = "loop.precision"
FOLD: Final = "corpus.fold"
FOLDS: Final = "corpus.folds"
EVAL_ROWS: Final = "corpus.eval_rows"
TRAIN_ROWS: Final = "corpus.train_rows"
TEACHER_ROWS: Final = "teacher.rows"
LEARNING_RATE: Final = "optimizer.lr"
WARMUP_STEPS: Final = "optimizer.warmup_steps"
BETA2: Final = "optimizer.beta2"
KIND: Final = "teacher.kind"
OUTPUT_BIAS: Final = "model.output_bias"
EVAL_HALF: Final = "corpus.eval_half"
SMOOTHING: Final = "teacher.smoothing"
ORDER: Final = "teacher.order"
TEACHER_LAYERS: Final = "teacher.model.layers"
TEACHER_WIDTH: Final = "teacher.model.hidden"
TEACHER_FOLDER: Final = "teacher.model.folder"
# The tables of runs that others published, kept as text (analysis.published_runs).
TRIALS_CSV: Final = "trials.csv"
CURVES_CSV: Final = "curves.csv"
WHO: Final = [TRIAL, ROLE, ARM, CONTROL_NAME, STATE, REASON]
LAST_REPORT: Final = [
    names.STEP,
    names.EVAL_LOSS,
    names.EVAL_LOSS_SE,
    names.GAIN,
    names.TRAIN_SECONDS,
    names.EVAL_SECONDS,
    names.TOKENS,
]
DERIVED: Final = [
    names.TOKENS_PER_SECOND,
    SECONDS_PER_STEP,
    names.PEAK_MEMORY_MIB,
    STEPS_TO_CONTROL,
    STEPS_SAVED,
    SECONDS_TO_CONTROL,
    SECONDS_SAVED,
]
# What a curve is grouped and coloured by.
CURVE_GROUPS: Final = [
    *(TRIAL, ROLE, ARM, CONTROL_NAME, STATE, LAYERS),
    *(SCHEDULE, TEACHER_STEPS, MIN_WEIGHT, SEED, FOLD, LOOP_STEPS),
]
