"""Data of trials on a real Ray: trials share memory, and refuse wrong data and folders that a node cannot see."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
import ray
from big_data import big_blocks, big_table

from trainable.config import TrialConfig, override
from trainable.errors import InputError
from trainable.plan import data_key, table_key
from trainable.record.run_files import RunFiles
from trainable.shared_data import checksums, data_of
from trainable.teacher.table import BigramTable
from trainable.text.blocks import TokenBlocks
from trainable.trial import read_shared, trial_folder

MIB = 2**20
CONFIG = override(TrialConfig(), {"teacher.schedule": "linear", "teacher.steps": 10})


def shared_data(
    table: BigramTable, blocks: TokenBlocks
) -> tuple[dict[str, tuple[TokenBlocks, TokenBlocks]], dict[str, BigramTable]]:
    return {data_key(CONFIG): (blocks, big_blocks(256))}, {table_key(CONFIG): table}


def test_data_with_another_checksum_are_refused() -> None:
    blocks, tables = shared_data(big_table(1000), big_blocks(1280))
    expected = checksums(blocks, tables)
    assert data_of(CONFIG, expected, blocks, tables).table is tables[table_key(CONFIG)]
    other_blocks, other_tables = shared_data(big_table(1001), big_blocks(1408))
    with pytest.raises(InputError, match="teacher table in the object store"):
        data_of(CONFIG, expected, blocks, other_tables)
    with pytest.raises(InputError, match="token blocks in the object store"):
        data_of(CONFIG, expected, other_blocks, tables)


def test_a_control_gets_no_table() -> None:
    blocks, tables = shared_data(big_table(1000), big_blocks(1280))
    control = override(CONFIG, {"teacher.schedule": "none"})
    assert data_of(control, checksums(blocks, tables), blocks, tables).table is None


def test_a_ramp_gets_no_table() -> None:
    blocks, _ = shared_data(big_table(1000), big_blocks(1280))
    assert data_of(override(CONFIG, {"teacher.kind": "ramp"}), checksums(blocks, {}), blocks, {}).table is None


def pss_mib() -> float:
    """Proportional set size of this process in MiB: a page that n processes share counts 1/n in each."""
    match = re.search(r"^Pss:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1]) / 1024


@ray.remote(num_cpus=1)
def read_everything(shared: list[Any], sums: dict[str, str], marks: Path, number: int) -> dict[str, Any]:
    """Read all shared arrays while another reader does the same; return the memory taken and facts about the arrays."""

    def wait_for(name: str) -> None:  # until both readers are here
        (marks / f"{name}{number}").touch()
        while len(list(marks.glob(f"{name}*"))) < 2:
            time.sleep(0.01)

    before = pss_mib()
    data = read_shared(shared, CONFIG, sums)
    assert isinstance(data.table, BigramTable)
    arrays = [data.train.stream_N, data.train.ids_BxT, data.table.values, data.table.indices, data.table.indptr]
    total = float(sum(int(array.sum()) for array in arrays))
    wait_for("read")
    found = {"pss": pss_mib() - before, "writeable": any(a.flags.writeable for a in arrays), "total": total}
    wait_for("measured")  # the pages stay mapped until the other reader has measured too
    return found


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="PSS is read from Linux's /proc")
def test_two_trials_on_a_node_share_the_pages_of_table_and_blocks(one_ray: None, tmp_path: Path) -> None:
    table, blocks = big_table(16 * MIB), big_blocks(64 * MIB)  # 96 MiB and 128 MiB
    by_key, tables = shared_data(table, blocks)
    shared, sums = [ray.put((by_key, tables))], checksums(by_key, tables)
    found = ray.get([read_everything.remote(shared, sums, tmp_path, number) for number in range(2)])
    shared_mib = (table.values.nbytes + table.indices.nbytes + blocks.stream_N.nbytes) / MIB
    assert not any(one["writeable"] for one in found)
    assert found[0]["total"] == found[1]["total"] > 0
    # Driver and object store map the pages too: two readers of one copy add at most their shares of it.
    assert sum(one["pss"] for one in found) < 1.2 * shared_mib, "the readers hold copies of their own"


def test_a_run_folder_that_a_node_cannot_see_is_named(one_ray: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be seen from node .*file system that all nodes share"):
        trial_folder(RunFiles(tmp_path / "elsewhere"), "none-L1-s0")
