"""The data of a run, apart from the loop that reads them: who only prepares data need not import transformers."""

from dataclasses import dataclass

from trainable.teacher.teacher import Table
from trainable.text.blocks import TokenBlocks


@dataclass(frozen=True, kw_only=True)
class RunData:
    """Data that a run of `train` reads: blocks to train on, blocks to validate on, and the table of its teacher."""

    train: TokenBlocks  # made by `token_blocks`
    eval: TokenBlocks
    table: Table | None = None  # e.g. a bigram or n-gram table; None: a control, or a teacher without a table
