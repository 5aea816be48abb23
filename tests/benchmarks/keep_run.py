"""Copy a run to results/record, ready to be committed: the copy can be read, and resumed on any machine.

    python tests/benchmarks/keep_run.py results/content/my_run results/record/content_books
    python sweeps/content.py --resume results/record/content_books --corpus my_books.parquet    # resumes it

The copy leaves out trials that have not ended (they are trained again), checkpoints, and the files of TensorBoard and
Ray. The corpus is named by its file name alone, without its folder. This changes the keys of its data (`data_key`), so
run.json gets the new keys.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from analysis.summary import rebuild
from sweeps.engine.specs.spec import spec_from_dict
from trainable import names
from trainable.plan import data_key, table_key
from trainable.record.files import read_json, write_json
from trainable.record.trial_files import read_status

LEFT_OUT = (
    names.TUNE_FOLDER,
    names.CHECKPOINT_FILE,
    "events.out.tfevents.*",
    ".lock",
    "*.lock",
    ".*.tmp",
    "report.html",
)


def keep(run: Path, record: Path) -> None:
    """Copy the run without LEFT_OUT, name the corpus by its file name, and make tables and summary again."""
    shutil.copytree(run, record, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for trial in (record / names.TRIALS_FOLDER).iterdir():
        if read_status(trial).state == names.RUNNING:
            shutil.rmtree(trial)
    tree = read_json(record / names.RUN_FILE)
    source = tree["spec"]["base"]["corpus"]["source"]
    write_json(record / names.RUN_FILE, renamed_run(tree, source, Path(source).name))
    for path in (record / names.TRIALS_FOLDER).glob(f"*/{names.TRIAL_FILE}"):
        write_json(path, renamed(read_json(path), source, Path(source).name))
    for sentence in rebuild(record, str(record)):
        print(sentence)


def renamed(tree: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """The JSON tree with every text that equals `old` replaced."""
    found: dict[str, Any] = json.loads(json.dumps(tree).replace(json.dumps(old), json.dumps(new)))
    return found


def renamed_run(tree: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """run.json with the new name of the corpus, and with its tables under the keys that follow from this name."""
    spec = renamed(tree["spec"], old, new)
    keys = {}
    for was, now in zip(spec_from_dict(tree["spec"]).configs(), spec_from_dict(spec).configs(), strict=True):
        keys |= {data_key(was): data_key(now), table_key(was): table_key(now)}
    tables = {keys[key]: {**table, "blocks": keys[table["blocks"]]} for key, table in tree["tables"].items()}
    return {key: value for key, value in tree.items() if key != "places"} | {"spec": spec, "tables": tables}


def main() -> None:
    """Keep the run that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("record", type=Path, help="a new folder below results/record")
    arguments = parser.parse_args()
    keep(arguments.run, arguments.record)


if __name__ == "__main__":
    main()
