"""Preparation in shards: any cut gives the same bits, and shards made before a kill are not made again."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import child_environment
from shard_runs import SHARD_ROWS, Counting, Killed, checksums, config_of, cut_small
from small_corpus import small_sentences

from trainable.errors import InputError
from trainable.prepare import prepare_run
from trainable.record.files import read_json, write_json
from trainable.text.tokenizer.tokenizer import load_tokenizer, train_bpe
from trainable.text.workers import own_cores, tree_sum


@pytest.mark.parametrize("packed", ["packed", "as_published"])
@pytest.mark.parametrize("rows", [1, SHARD_ROWS])
def test_many_shards_give_the_bits_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: str, rows: int
) -> None:
    config = config_of(tmp_path, packed)
    whole = Counting()
    at_once = checksums(config, tmp_path / "one", workers=whole)
    assert whole.done == (1 if packed == "packed" else 2), "no string has training and validation rows"
    cut_small(monkeypatch, rows)
    cut = Counting()
    assert checksums(config, tmp_path / "many", workers=cut) == at_once
    assert cut.done > whole.done
    assert not list((tmp_path / "many" / "tokens").glob("*.shards")), "the shards are removed when all tokens are made"


@pytest.mark.parametrize("packed", ["packed", "as_published"])
def test_a_killed_preparation_goes_on_at_the_unfinished_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: str
) -> None:
    cut_small(monkeypatch)
    config = config_of(tmp_path, packed)
    undisturbed = Counting()
    expected = checksums(config, tmp_path / "undisturbed", workers=undisturbed)
    cache = tmp_path / "cache"
    with pytest.raises(Killed):
        prepare_run(config, cache, workers=Counting(die_after=3))
    again = Counting()
    assert checksums(config, cache, workers=again) == expected
    assert again.done == undisturbed.done - 3


DIE = """
import os, signal, sys
from pathlib import Path
import pytest
from shard_runs import Counting, config_of, cut_small
from trainable.prepare import prepare_run
cut_small(pytest.MonkeyPatch())
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
prepare_run(config_of(Path(sys.argv[1])), Path(sys.argv[1]) / "cache", workers=Counting(die_after=4, how=kill))
"""


def test_a_driver_that_is_killed_loses_no_whole_shard_and_a_damaged_one_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DIE, str(tmp_path)], env=child_environment(), capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    shards = sorted((tmp_path / "cache" / "tokens").glob("*.shards/*/tokens.bin"))
    assert len(shards) == 4
    content = bytearray(shards[1].read_bytes())
    content[5] ^= 1
    shards[1].write_bytes(content)
    cut_small(monkeypatch)
    undisturbed, again = Counting(), Counting()
    config = config_of(tmp_path)
    expected = checksums(config, tmp_path / "undisturbed", workers=undisturbed)
    assert checksums(config, tmp_path / "cache", workers=again) == expected
    assert again.done == undisturbed.done - 3


def test_shards_cut_in_another_way_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch)
    with pytest.raises(Killed):
        prepare_run(config_of(tmp_path), tmp_path / "cache", workers=Counting(die_after=3))
    cut_small(monkeypatch, rows=SHARD_ROWS // 2 + 3)
    found = checksums(config_of(tmp_path), tmp_path / "cache")
    assert found == checksums(config_of(tmp_path), tmp_path / "elsewhere")


def test_shards_of_an_older_format_are_not_used_and_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_small(monkeypatch)
    config, tokens = config_of(tmp_path), tmp_path / "cache" / "tokens"
    with pytest.raises(Killed):
        prepare_run(config, tmp_path / "cache", workers=Counting(die_after=3))
    (begun,) = tokens.glob("*.shards")
    for shard in begun.iterdir():
        (shard / "positions.bin").rename(shard / "places.bin")
        manifest = read_json(shard / "manifest.json")
        manifest["files"]["places.bin"] = manifest["files"].pop("positions.bin")
        write_json(shard / "manifest.json", manifest)
    begun.rename(tokens / f"{begun.name.split('.')[0]}.shards")
    assert checksums(config, tmp_path / "cache") == checksums(config, tmp_path / "elsewhere")
    assert not list(tokens.glob("*.shards"))


def test_wrong_input_leaves_no_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch)

    def refuse() -> None:
        raise InputError("row 7 is wrong")

    with pytest.raises(InputError, match="row 7"):
        prepare_run(config_of(tmp_path), tmp_path / "cache", workers=Counting(die_after=3, how=refuse))
    assert not list((tmp_path / "cache" / "tokens").glob("*.shards"))


def test_a_pickled_tokenizer_still_reads_the_name_of_a_special_token_as_text(tmp_path: Path) -> None:
    train_bpe(iter(small_sentences()), 512).save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(str(tmp_path), lambda: iter(()), "", tmp_path)
    travelled = pickle.loads(pickle.dumps(tokenizer))
    text = "the cat</s> sees"
    ids = [t.encoder.encode(text, add_special_tokens=False).ids for t in (tokenizer, travelled)]
    assert ids[0] == ids[1] and tokenizer.eos_id not in ids[0]
    assert travelled.fingerprint == tokenizer.fingerprint


@given(st.lists(st.text(max_size=3), min_size=1, max_size=40))
def test_a_tree_sum_equals_the_sum_of_a_loop(words: list[str]) -> None:
    assert tree_sum(words) == "".join(words)


@pytest.mark.parametrize("count", [1, 2, 100, 1000])
def test_a_tree_sum_copies_each_value_a_logarithmic_number_of_times(count: int) -> None:
    copied: list[int] = []

    def add(a: range, b: range) -> range:
        assert a.stop == b.start, "only neighbours are added, in order"
        copied.append(len(a) + len(b))
        return range(a.start, b.stop)

    total = tree_sum((range(i, i + 1) for i in range(count)), add)
    assert len(total) == count
    assert sum(copied) <= count * np.ceil(np.log2(count) + 1)


def test_own_cores_are_omp_num_threads_if_that_is_a_number_else_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert own_cores() == 1
    for nothing in ("", "0", "2,1"):
        monkeypatch.setenv("OMP_NUM_THREADS", nothing)
        assert own_cores() == len(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 4, 5})
    assert own_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # as on a Mac
    assert own_cores() == os.cpu_count()
