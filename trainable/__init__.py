"""Everything that one trial needs: text -> tokens -> teacher -> guided training.

The names below are for a training loop of your own; trainable/README.md shows each in an example. A name is imported
when it is first used, so `import trainable` is fast, and a notebook that only loads results needs no torch. Only
trial.py, gauges.py and data_parallel.py know Ray.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.results import load as load
    from trainable.loops.found_schedule import load_schedule as load_schedule
    from trainable.loops.guided_trainer import GuidedTrainer as GuidedTrainer
    from trainable.student.guided_loss import guided_loss as guided_loss
    from trainable.student.run_data import RunData as RunData
    from trainable.student.train import train as train
    from trainable.teacher.counts import count_bigrams as count_bigrams
    from trainable.teacher.kinds.bigram import BigramTeacher as BigramTeacher
    from trainable.teacher.kinds.ngram import NgramTeacher as NgramTeacher
    from trainable.teacher.kneser_ney import estimate_ngrams as estimate_ngrams
    from trainable.teacher.ngram_counts import count_ngrams as count_ngrams
    from trainable.teacher.ngram_table_file import load_ngrams as load_ngrams
    from trainable.teacher.ngram_table_file import save_ngrams as save_ngrams
    from trainable.teacher.schedules import teacher_weight as teacher_weight
    from trainable.teacher.smoothing import estimate_table as estimate_table
    from trainable.teacher.table import load_table as load_table
    from trainable.teacher.table import save_table as save_table
    from trainable.teacher.teacher import Guidance as Guidance
    from trainable.teacher.teacher import RowTeacher as RowTeacher
    from trainable.teacher.teacher import Teacher as Teacher
    from trainable.teacher.teacher_file import load_teacher as load_teacher
    from trainable.text.blocks import token_blocks as token_blocks
    from trainable.text.corpus import open_corpus as open_corpus
    from trainable.text.split import split_rows as split_rows
    from trainable.text.tokenizer.tokenizer import corpus_tokenizer as corpus_tokenizer

_HOMES = {
    "open_corpus": "trainable.text.corpus",
    "split_rows": "trainable.text.split",
    "corpus_tokenizer": "trainable.text.tokenizer.tokenizer",
    "token_blocks": "trainable.text.blocks",
    "count_bigrams": "trainable.teacher.counts",
    "estimate_table": "trainable.teacher.smoothing",
    "save_table": "trainable.teacher.table",
    "load_table": "trainable.teacher.table",
    "count_ngrams": "trainable.teacher.ngram_counts",
    "estimate_ngrams": "trainable.teacher.kneser_ney",
    "save_ngrams": "trainable.teacher.ngram_table_file",
    "load_ngrams": "trainable.teacher.ngram_table_file",
    "load_teacher": "trainable.teacher.teacher_file",
    "BigramTeacher": "trainable.teacher.kinds.bigram",
    "NgramTeacher": "trainable.teacher.kinds.ngram",
    "RowTeacher": "trainable.teacher.teacher",
    "Teacher": "trainable.teacher.teacher",
    "Guidance": "trainable.teacher.teacher",
    "guided_loss": "trainable.student.guided_loss",
    "teacher_weight": "trainable.teacher.schedules",
    "GuidedTrainer": "trainable.loops.guided_trainer",
    "load_schedule": "trainable.loops.found_schedule",
    "RunData": "trainable.student.run_data",
    "train": "trainable.student.train",
    "load": "analysis.results",
}

__all__ = [  # noqa: RUF022  (in the order of a run)
    "open_corpus",
    "split_rows",
    "corpus_tokenizer",
    "token_blocks",
    "count_bigrams",
    "estimate_table",
    "save_table",
    "load_table",
    "count_ngrams",
    "estimate_ngrams",
    "save_ngrams",
    "load_ngrams",
    "load_teacher",
    "BigramTeacher",
    "NgramTeacher",
    "RowTeacher",
    "Teacher",
    "Guidance",
    "guided_loss",
    "teacher_weight",
    "GuidedTrainer",
    "load_schedule",
    "RunData",
    "train",
    "load",
]


if not TYPE_CHECKING:  # a type checker that sees __getattr__ accepts any name

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
