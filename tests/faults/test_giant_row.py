"""Preparation of a corpus with one row of 50 MB."""

import subprocess
import sys
from pathlib import Path

from paths import child_environment
from small_corpus import small_sentences

MEASURE = """
import resource, sys
from pathlib import Path
from one_file import config
from trainable.prepare import prepare_run
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
data, _ = prepare_run(config(Path(sys.argv[1])), Path(sys.argv[2]))
print(len(data.train.stream_N), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_row_of_50_megabytes_is_prepared_in_less_than_a_gibibyte(tmp_path: Path) -> None:
    """Preparing a row of 50 MB adds less than 768 MiB to the memory of its process; an earlier version took 7 GiB."""
    path, sentences = tmp_path / "giant.txt", small_sentences()
    giant = (" ".join(sentences) * 3000)[:50_000_000]
    path.write_text("".join(f"{line}\n" for line in [*sentences, giant]))
    words = [sys.executable, "-c", MEASURE, str(path), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, env=child_environment(), check=True)
    tokens, mebibytes = map(int, done.stdout.split())
    assert tokens > 10_000_000
    assert mebibytes < 768
