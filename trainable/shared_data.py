"""Check of the token blocks and teacher tables that the trials of a node share in Ray's object store.

A process can write to an object in the store by mistake, and all processes of the node see the change. So each trial
compares its data with the checksums that the driver computed.
"""

import hashlib

from trainable.config import TrialConfig
from trainable.errors import InputError
from trainable.plan import data_key, table_key
from trainable.prepare import BlocksByKey, TablesByKey
from trainable.record.files import fingerprint
from trainable.student.run_data import RunData


def data_of(config: TrialConfig, expected: dict[str, str], blocks: BlocksByKey, tables: TablesByKey) -> RunData:
    """Return the blocks of a config and, for a guided trial whose teacher has one, the table.

    Raises InputError if a checksum differs from the expected one.
    """
    key = data_key(config)
    train_blocks, eval_blocks = blocks[key]
    found = [hashlib.sha256(stream.data).hexdigest() for stream in (train_blocks.stream_N, eval_blocks.stream_N)]
    if fingerprint(found) != expected[key]:
        raise InputError("the token blocks in the object store are not those the driver put there: resume the run.")
    if config.teacher.schedule == "none" or not config.teacher.has_table:
        return RunData(train=train_blocks, eval=eval_blocks)
    table = tables[table_key(config)]
    if table.checksum != expected[table_key(config)]:
        raise InputError("the teacher table in the object store is not the one the driver put there: resume the run.")
    return RunData(train=train_blocks, eval=eval_blocks, table=table)


def checksums(blocks: BlocksByKey, tables: TablesByKey) -> dict[str, str]:
    """Return {key: checksum} of each set of blocks and each table; the driver makes them, and trials compare."""
    sums = {key: fingerprint([pair[0].checksum, pair[1].checksum]) for key, pair in blocks.items()}
    return sums | {key: table.checksum for key, table in tables.items()}
