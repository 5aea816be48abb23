"""A test that kills its process ends neither the other tests nor the command, which xdist 3.8 alone would let wait."""

import subprocess
import sys
from pathlib import Path

from paths import ROOT, child_environment


def test_a_test_that_kills_its_process_fails_and_all_others_run_once(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        f"import runpy\npytest_xdist_make_scheduler = runpy.run_path({str(ROOT / 'tests' / 'conftest.py')!r})"
        '["pytest_xdist_make_scheduler"]\n',
        encoding="utf-8",
    )
    said = tmp_path / "said.txt"
    begin = f"def say(name):\n    with open({str(said)!r}, 'a') as file:\n        print(name, file=file)\n\n"
    for number in range(8):
        (tmp_path / f"test_{number}.py").write_text(f"{begin}def test(): say('file {number}')\n", encoding="utf-8")
    (tmp_path / "test_2_kills.py").write_text(
        f"import os\n{begin}def test_before(): say('before')\ndef test_kills(): say('kills'); os._exit(1)\n"
        "def test_after(): say('after')\n",
        encoding="utf-8",
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "2",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env=child_environment(), cwd=tmp_path, timeout=300, check=False
    )
    assert "1 failed, 10 passed" in done.stdout, done.stdout + done.stderr
    ran = said.read_text(encoding="utf-8").splitlines()
    assert sorted(ran) == sorted(["before", "kills", "after", *(f"file {number}" for number in range(8))])
