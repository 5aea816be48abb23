"""Names of metrics, columns, roles and files, each defined once for trials, searcher, ledger and tables."""

from collections.abc import Mapping
from typing import Any, Final

# One report of a trial: the keys of a ledger row, the columns of curves.parquet, the tags in TensorBoard.
STEP: Final = "step"  # optimizer steps done; 0 is before the first
EVAL_LOSS: Final = "eval_loss"  # plain cross-entropy on the validation blocks, nats per token
EVAL_LOSS_SE: Final = "eval_loss_se"  # standard error of eval_loss over validation blocks
GAIN: Final = "gain"  # control's eval_loss - own eval_loss at the same step, nats per token; 0 for a control
TRAIN_LOSS: Final = "train_loss"  # mean guided loss since the last report, nats per token; null at step 0
TEACHER_WEIGHT: Final = "teacher_weight"  # w(t) of the next step, in [0, 1]
LEARNING_RATE: Final = "learning_rate"  # learning rate of the next step
GRAD_NORM: Final = "grad_norm"  # mean norm of a step's whole gradient before clipping, since the last report
CLIPPED_SHARE: Final = "clipped_share"  # share of the steps since the last report whose gradient was clipped, in [0, 1]
# grad_norm and clipped_share are null at step 0.
# Diagnostics of the student on the first validation blocks (student/diagnostics.py); null in runs older than them.
OUTPUT_ENTROPY: Final = "output_entropy"  # mean entropy of the student's output, nats
HIDDEN_COSINE: Final = "hidden_cosine"  # mean cosine of the hidden states of two positions
UNIGRAM_KL: Final = "unigram_kl"  # mean KL divergence of the output from the training rows' unigram, nats
TOKENS: Final = "tokens"  # target tokens trained on so far
TOKENS_PER_SECOND: Final = "tokens_per_second"  # speed of the training steps since the last report; null at step 0
TRAIN_SECONDS: Final = "train_seconds"  # seconds spent in training steps so far
EVAL_SECONDS: Final = "eval_seconds"  # seconds spent in evaluations so far
PEAK_MEMORY_MIB: Final = (
    "peak_memory_mib"  # peak of the trial's process (on CUDA: of the GPU) since the trial began; null: not known
)
TIMESTAMP: Final = "timestamp"  # time of the report, seconds since the epoch

REPORT_COLUMNS: Final = (
    STEP,
    EVAL_LOSS,
    EVAL_LOSS_SE,
    GAIN,
    TRAIN_LOSS,
    TEACHER_WEIGHT,
    LEARNING_RATE,
    GRAD_NORM,
    CLIPPED_SHARE,
    OUTPUT_ENTROPY,
    HIDDEN_COSINE,
    UNIGRAM_KL,
    TOKENS,
    TOKENS_PER_SECOND,
    TRAIN_SECONDS,
    EVAL_SECONDS,
    PEAK_MEMORY_MIB,
    TIMESTAMP,
)

MARGIN: Final = 0.03  # nats per token; a smaller difference counts as no effect, unless a run sets another margin
UNREAD_TOLD: Final = 0.01  # largest share of rows that a tokenizer cannot read without a warning

# Roles of a trial.
CONTROL: Final = "control"  # a trial without a teacher, with which guided trials are compared
ARM: Final = "arm"  # a guided trial that a study names
SEARCH: Final = "search"  # a guided trial that the searcher proposed and ASHA may stop
CONFIRM: Final = "confirm"  # the winner of a group run again, on seeds that the search has not seen

# Kinds of teacher that do not know which token follows which: the rivals of the other kinds.
CONTENT_FREE: Final = ("uniform", "unigram", "shuffled", "ramp")

# States of a trial.
RUNNING: Final = "running"
FINISHED: Final = "finished"  # the trial ran all its steps
STOPPED: Final = "stopped"  # ASHA stopped the trial at a rung
FAILED: Final = "failed"  # an error ended the trial; status.json has the reason

# Files of a run folder.
RUN_FILE: Final = "run.json"
TRIALS_FOLDER: Final = "trials"
TUNE_FOLDER: Final = "tune"  # Ray Tune's own files, on one node; nothing reads them back
TRIAL_FILE: Final = "trial.json"
LEDGER_FILE: Final = "metrics.jsonl"
STATUS_FILE: Final = "status.json"
CHECKPOINT_FILE: Final = "checkpoint.pt"
RUNGS_FILE: Final = "asha.jsonl"
RESTARTS_FILE: Final = "restarts.jsonl"  # one row for each worker that died and whose trial was restarted
JOURNAL_FILE: Final = "optuna.journal"
TRIALS_TABLE: Final = "trials.parquet"
CURVES_TABLE: Final = "curves.parquet"
SUMMARY_FILE: Final = "summary.md"
FIGURES_FOLDER: Final = "figures"


def dotted(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten {"model": {"layers": 1}, "seed": 0} to {"model.layers": 1, "seed": 0}: each leaf under its dotted key."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat
