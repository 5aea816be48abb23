"""Write the schedule of an exported trial and its teacher's table beside the model, for `GuidedTrainer`.

schedule.json is written for every trial that had a teacher. The teacher's table is written if it is one of bigrams or
longer n-grams, which can teach any text of the same tokens. It is not written for a trained model, whose answers belong
to the run's own blocks, and not for a user's own class, which brings its table itself.
"""

from pathlib import Path

from sweeps.engine.folder import FinishedTrial, RunFolder
from trainable.config import TrialConfig
from trainable.errors import require
from trainable.loops.found_schedule import TABLE_FILE, FoundSchedule, save_schedule
from trainable.plan import placed, table_key
from trainable.prepare import prepare_run
from trainable.teacher.kinds import teacher_class
from trainable.teacher.kinds.bigram import BigramTeacher
from trainable.teacher.kinds.ngram import NgramTeacher
from trainable.teacher.teacher import RowTeacher

READ_BY_ALL = (BigramTeacher.rows, NgramTeacher.rows)  # of the teachers whose table a file can hold


def has_schedule(config: TrialConfig) -> bool:
    """Whether a trial had a teacher, and so a schedule."""
    return config.teacher.schedule != "none"


def has_table_file(config: TrialConfig) -> bool:
    """Whether the table of a trial's teacher is exported."""
    return has_schedule(config) and getattr(teacher_class(config.teacher.kind), "rows", None) in READ_BY_ALL


def write_found_schedule(run: RunFolder, trial: FinishedTrial, folder: Path, tokenizer_fingerprint: str) -> None:
    """Write schedule.json and teacher.table to a folder; nothing for a control.

    Raises InputError if the table is no longer the one that taught the trial.
    """
    config = trial.plan.config
    if not has_schedule(config):
        return
    record, table = run.record(), None
    if has_table_file(config):
        made = prepare_run(placed(config, record.places or {}))[0].table
        known = record.tables.get(table_key(config))
        assert made is not None
        require(
            known is None or made.checksum == known.checksum,
            f"--export: the table of teacher {config.teacher.kind} is no longer what run {run.address} was trained "
            "with: restore its corpus and tokenizer.",
        )
        kind, table = teacher_class(config.teacher.kind), folder / TABLE_FILE
        assert issubclass(kind, RowTeacher) and kind.table_file is not None
        kind.table_file.save(made, table)
    found = FoundSchedule(
        teacher=config.teacher,
        optimizer=config.optimizer,
        loop=config.loop,
        context=config.tokens.context,
        tokenizer_fingerprint=tokenizer_fingerprint,
        study=record.study,
        run=record.run,
        trial=trial.plan.name,
        eval_loss=trial.loss,
        table=table,
    )
    save_schedule(found, folder)
