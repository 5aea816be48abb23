"""The trainable on a real Ray: what it shares, and what it refuses."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from big_data import big_blocks, big_table
from ray import tune

from trainable.config import TrialConfig, override
from trainable.errors import InputError
from trainable.plan import data_key, table_key
from trainable.record.run_files import RunFiles
from trainable.shared_data import checksums, data_of
from trainable.teacher.table import BigramTable
from trainable.text.blocks import TokenBlocks
from trainable.trial import trial_folder

MIB = 2**20
CONFIG = override(TrialConfig(), {"teacher.schedule": "linear", "teacher.steps": 10})


def shared_data(
    table: BigramTable, blocks: TokenBlocks
) -> tuple[dict[str, tuple[TokenBlocks, TokenBlocks]], dict[str, BigramTable]]:
    return {data_key(CONFIG): (blocks, big_blocks(256))}, {table_key(CONFIG): table}


def test_data_of_another_checksum_are_refused() -> None:
    blocks, tables = shared_data(big_table(1000), big_blocks(1280))
    expected = checksums(blocks, tables)
    assert data_of(CONFIG, expected, blocks, tables).table is tables[table_key(CONFIG)]
    other_blocks, other_tables = shared_data(big_table(1001), big_blocks(1408))
    with pytest.raises(InputError, match="bigram table in the object store"):
        data_of(CONFIG, expected, blocks, other_tables)
    with pytest.raises(InputError, match="token blocks in the object store"):
        data_of(CONFIG, expected, other_blocks, tables)


def test_a_control_is_handed_no_table() -> None:
    blocks, tables = shared_data(big_table(1000), big_blocks(1280))
    control = override(CONFIG, {"teacher.schedule": "none"})
    assert data_of(control, checksums(blocks, tables), blocks, tables).table is None


def pss_mib() -> float:
    """Proportional set size of this process: a page that n processes share counts 1/n."""
    match = re.search(r"^Pss:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1]) / 1024


def read_everything(config: dict[str, Any], *, blocks: Any, tables: Any, marks: str) -> None:
    """A trial that touches each byte of what is shared, waits until the other has too, and reports its memory."""
    before = pss_mib()
    (train_blocks, _), table = blocks[data_key(CONFIG)], tables[table_key(CONFIG)]
    arrays = [train_blocks.stream_N, train_blocks.ids_BxT, table.values, table.indices, table.indptr]
    total = float(sum(int(array.sum()) for array in arrays))
    (Path(marks) / str(config["number"])).touch()
    while len(list(Path(marks).iterdir())) < 2:
        pass
    tune.report({"pss": pss_mib() - before, "writeable": any(a.flags.writeable for a in arrays), "total": total})
    (Path(marks) / f"done{config['number']}").touch()
    while len(list(Path(marks).iterdir())) < 4:  # keep the pages mapped until the other has measured
        pass


@pytest.fixture(scope="module")
def own_ray() -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    here = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}  # workers import this module
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        logging_level="ERROR",
        log_to_driver=False,
        runtime_env=here,
    )
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="PSS is read from Linux's /proc")
def test_two_trials_on_a_node_share_the_pages_of_table_and_blocks(own_ray: None, tmp_path: Path) -> None:
    table, blocks = big_table(16 * MIB), big_blocks(64 * MIB)  # 96 MiB and 128 MiB
    by_key, tables = shared_data(table, blocks)
    marks = tmp_path / "marks"
    marks.mkdir()
    function = tune.with_parameters(read_everything, blocks=by_key, tables=tables, marks=str(marks))
    results = tune.Tuner(
        tune.with_resources(function, {"cpu": 1}),
        param_space={"number": tune.grid_search([0, 1])},
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="tune", verbose=0),
    ).fit()
    metrics = [result.metrics for result in results]
    shared_mib = (table.values.nbytes + table.indices.nbytes + blocks.stream_N.nbytes) / MIB
    assert not any(m["writeable"] for m in metrics)
    assert metrics[0]["total"] == metrics[1]["total"] > 0
    # Driver and object store map the pages too: two readers of one copy add at most their shares of it.
    assert sum(m["pss"] for m in metrics) < 1.2 * shared_mib, "the readers hold copies of their own"


def test_a_run_folder_that_a_node_cannot_see_is_named(own_ray: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be seen from node .*file system that all nodes share"):
        trial_folder(RunFiles(tmp_path / "elsewhere"), "none-L1-s0")
