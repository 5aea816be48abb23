"""Mistakes of a user at the real entry points: each gets one sentence, before Ray starts, and nothing is left behind.

A case is a command line, the files it needs, and three fragments of the sentence that must answer it: what is wrong,
where, and what to do. To add a case, add a line to a table.
"""

import gzip
import json
import os
import runpy
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tyro
from commands import run_module
from foreign_tokenizers import save, word_level
from small_corpus import small_sentences
from sweep_specs import run_record, small_sweep
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from sweeps.engine.cli import USAGE_ERROR
from sweeps.engine.cluster import ray_start as machine
from trainable import names
from trainable.record.files import write_json

SMALL = {"--corpus": "small.txt", "--tokenizer": "train:512", "--train-rows": "400", "--eval-rows": "50"}
KEYS = {"--train-rows": "corpus.train_rows", "--eval-rows": "corpus.eval_rows"}
SEARCH = "schedule_search"


class Case(NamedTuple):
    """A mistake, and the sentence that answers it."""

    words: str  # of the command line; options of SMALL that are missing are added for a study
    what: str
    where: str
    mend: str
    make: Callable[[Path], object] = lambda folder: None  # writes the files that the words name
    script: str = SEARCH  # of sweeps/, or a module analysis.*, or trainable.teacher


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small corpus, a cache of its own, no colours, no cluster, and no Ray."""

    def no_ray(*_: object) -> None:
        raise AssertionError("Ray would have been started")

    (tmp_path / "small.txt").write_text("".join(f"{line}\n" for line in small_sentences()), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGRAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(machine, "start_ray", no_ray)
    return tmp_path


# ---- files that the cases need -------------------------------------------------------------------------------------


def text(content: bytes, name: str = "bad.txt") -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def parquet(**columns: Any) -> Callable[[Path], object]:
    return lambda folder: pq.write_table(pa.table(columns), folder / "bad.parquet")


def damaged_parquet(folder: Path) -> None:
    parquet(text=[f"row {i} {i * 7919}" for i in range(2000)])(folder)
    content = bytearray((folder / "bad.parquet").read_bytes())
    content[200 : len(content) // 2] = b"\xff" * (len(content) // 2 - 200)
    (folder / "bad.parquet").write_bytes(content)


def two_columns(folder: Path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 2, names=["text", "text"]), folder / "bad.parquet")


def split_files(*names: str) -> Callable[[Path], object]:
    """Write a folder of text files with these names, 600 rows each."""

    def write(folder: Path) -> None:
        (folder / "three").mkdir()
        for name in names:
            (folder / "three" / (name if "." in name else f"{name}.txt")).write_text(f"text of {name}\n" * 600)

    return write


def unreadable(folder: Path) -> None:
    (folder / "bad.txt").symlink_to("/proc/self/mem")  # root may read any file, but nobody address 0 of a process


def tokenizer(
    vocabulary: dict[str, int], config: object = None, bos: int | None = None, unknown: str = "<unk>"
) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        (folder / "words").mkdir()
        encoder = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
        encoder.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        encoder.add_special_tokens([token for token in ("<s>", "</s>") if token in vocabulary])
        if bos is not None:
            encoder.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", bos)])
        encoder.save(str(folder / "words" / "tokenizer.json"))
        if config is not None:
            (folder / "words" / "tokenizer_config.json").write_text(json.dumps(config))

    return write


def hub_tokenizer(folder: Path) -> None:
    """Write a hub cache into the folder of HF_HUB_CACHE, with a tokenizer.json and nothing else."""
    repository = folder / "hub" / "models--org--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("c0")
    save(word_level(["<unk>"], ["</s>"]), repository / "snapshots" / "c0")


SENTENCE_WORDS = sorted({word for line in small_sentences() for word in line.split()} - {"the", "a"})
WORDS = {"<unk>": 0, "<s>": 1, "</s>": 2, "the": 3, "a": 4}
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 4096,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "max_position_embeddings": 2048,
}


def model(without: str = "", **changes: Any) -> Callable[[Path], object]:
    settings = {key: value for key, value in (LLAMA | changes).items() if key != without}
    return raw_model(json.dumps(settings))


def raw_model(content: str) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        (folder / "llama").mkdir()
        (folder / "llama" / "config.json").write_text(content)

    return write


def run_file(content: object) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        (folder / "run").mkdir()
        if isinstance(content, dict):  # a whole file, as another version would have written it
            write_json(folder / "run" / names.RUN_FILE, content)
        else:
            told = content if isinstance(content, str) else json.dumps(content)
            (folder / "run" / names.RUN_FILE).write_text(told)

    return write


def old_search(folder: Path) -> None:
    """Write the run `old`, from before every arm was searched by itself."""
    (folder / "old").mkdir()
    tree = run_record(small_sweep()).to_dict()
    old = {"kind": "search", "space": {"teacher.schedule": ["linear"], "teacher.steps": [10]}}
    write_json(folder / "old" / names.RUN_FILE, tree | {"spec": {**tree["spec"], **old}})


def named_run(study: str | None) -> Callable[[Path], object]:
    """A folder `mine` among the runs of the search: begun by a study's command, or with files that are no run's."""

    def write(folder: Path) -> None:
        run = folder / SEARCH / "mine"
        run.mkdir(parents=True)
        if study is None:
            (run / "diary.txt").write_text("Dear diary")
            return
        words = shlex.split(" ".join(f"{key} {value}" for key, value in SMALL.items()))
        its = runpy.run_module(f"sweeps.{study}")
        options = tyro.cli(its["SearchOptions"], args=words, config=(tyro.conf.OmitArgPrefixes,))
        write_json(run / names.RUN_FILE, run_record(its["schedule_search"](options)).to_dict())

    return write


# ---- the cases -----------------------------------------------------------------------------------------------------

RUN = {
    "no steps": Case("--steps 0", "is 0", "--steps", "give at least 1"),
    "run shorter than its intervals": Case("--steps 5", "but --steps is 5", "loop.eval_every is 16", "give more"),
    "steps and again in --set": Case("--steps 96 --set loop.steps=192", "by its own option and", "--steps", "leave"),
    "option twice": Case("--steps 96 --steps 192", "given twice", "--steps", "give it once"),
    "setting twice": Case("--set seed=1 --set seed=2", "gives seed twice", "--set", "give it once"),
    "no rows to train on": Case("--train-rows 0", "is 0", "--train-rows", "give a positive number"),
    "no rows to validate on": Case("--eval-rows 0", "is 0", "--eval-rows", "give a positive number"),
    "too many rows to train on": Case("--train-rows 5000", "needs 5,000", "--train-rows", "give a larger corpus"),
    "too many rows to validate on": Case("--eval-rows 65", "needs 130", "--eval-rows", "give a larger corpus"),
    "no CPU": Case("--cpus-per-trial 0", "is 0", "--cpus-per-trial", "give a positive number"),
    "CPUs that are no number": Case("--cpus-per-trial nan", "is nan", "--cpus-per-trial", "give a positive number"),
    "endless CPUs": Case("--cpus-per-trial inf", "is inf", "--cpus-per-trial", "give a whole number"),
    "one CPU and a half": Case("--cpus-per-trial 1.5", "is 1.5", "--cpus-per-trial", "give a whole number"),
    "no worker": Case("--workers-per-trial 0", "is 0", "--workers-per-trial", "give at least 1"),
    "more workers than blocks": Case(
        "--workers-per-trial 99 --set loop.batch_blocks=98", "is 99", "loop.batch_blocks = 98", "give fewer workers"
    ),
    "more workers than Ray has CPUs": Case(
        "--cpus 1 --workers-per-trial 2", "for each of 2 workers but --cpus 1", "--cpus-per-trial", "raise --cpus"
    ),
    "more CPUs a trial than Ray has": Case("--cpus 1 --cpus-per-trial 2", "but --cpus 1", "--cpus-per-trial", "raise"),
    "no CPU for Ray": Case("--cpus 0", "is 0", "--cpus", "give at least 1"),
    "less than no GPU": Case("--gpus-per-trial -1", "is -1", "--gpus-per-trial", "give 0, a fraction, or"),
    "one GPU and a half": Case("--gpus-per-trial 1.5", "is 1.5", "--gpus-per-trial", "give a whole number"),
    "workers that share a GPU": Case(
        "--workers-per-trial 2 --gpus-per-trial 0.5", "is 0.5", "no two workers can share", "give each a whole one"
    ),
    "workers without a dashboard": Case(
        "--workers-per-trial 2 --no-dashboard", "after the death of", "--no-dashboard", "leave out one of the two"
    ),
    "results are a file": Case("--results taken", "cannot be made", "taken", "give --results", text(b"", "taken")),
    "results in nobody's home": Case("--results ~nobody-here/r", "no such user", "~nobody-here/r", "correct it"),
    "results in a store of no kind": Case("--results ftp://host/x", "cannot be opened", "ftp://host/x", "give a path"),
    "results with a password": Case(
        "--results s3://me:planted@bucket/x", "has a password in it", "bucket", "AWS_SECRET_ACCESS_KEY"
    ),
    "results in no bucket": Case("--results s3:///x", "Missing bucket", "s3:///x", "such as s3://bucket/folder"),
    "results on another machine": Case("--results file://host/x", "file://host/x", "--results", "the path alone"),
    "resume in a store of no kind": Case("--resume ftp://host/x", "cannot be opened", "ftp://host/x", "give a path"),
    "results in a job's copy": Case(
        "--results working_dir_files/r", "Ray removes after the job", "--results", "give an absolute path"
    ),
    "run called by a path": Case("--run a/b", "cannot be a folder", "'a/b'", "use letters, digits and"),
    "run without a name": Case("--run ''", "cannot be a folder", "--run ''", "use letters, digits and"),
    "run called ..": Case("--run ..", "cannot be a folder", "'..'", "use letters, digits and"),
    "run that is no run": Case("--results . --run mine", "it is no run", "mine", "give another --run", named_run(None)),
    "run of other settings": Case(
        "--results . --run mine --steps 32",
        "other settings (base.loop.steps was 96, now 32)",
        "mine",
        "give the same",
        named_run(SEARCH),
    ),
    "resume with settings": Case("--resume mine --steps 9", "would change nothing", "--steps", "begin a new run"),
    "resume with results": Case("--resume mine --results x", "would change nothing", "--results", "leave it out"),
    "an address that is none": Case("--address http://head:8265", "no address of a Ray", "--address", "give HOST:PORT"),
    "run and resume": Case("--run mine --resume mine", "both say which run", "--resume and --run", "leave one of them"),
    "export to a folder that is not empty": Case(
        "--export best .", "is not an empty folder", "workplace", "give a new"
    ),
    "export to a file": Case(
        "--export best taken", "is not an empty folder", "taken", "give a new", text(b"", "taken")
    ),
    "export below a file": Case(
        "--export best taken/x", "takes no files", "taken/x", "give another", text(b"", "taken")
    ),
    "export to the net": Case("--export best s3://bucket/x", "s3://bucket/x", "--export", "give a path"),
    "export of a trial that cannot be": Case(
        "--export linear-T7-L9-s0 new", "has no trial", "linear-T7-L9-s0", "give best"
    ),
    "export of an arm that is none": Case(
        "--export best-1 new", "has no trial", "'best-1'", "give best", script="kfold"
    ),
    "export of a trial that is not kept": Case(
        "--export control-lr0.003-wu10-L1-s0 new",
        "keeps the checkpoint of its",
        "control-lr0.003",
        "loop.keep_checkpoint=true",
    ),
    "resume of a search without groups": Case(
        "--resume old",
        "its kind is 'search'",
        "run.json of",
        "start a new run",
        old_search,
    ),
    "resume of no run": Case("--resume .", "is not a run", "run.json", "give a folder such as"),
    "resume of nothing": Case("--resume nowhere", "is not a run", "nowhere", "give a folder such as"),
    "resume in nobody's home": Case("--resume ~nobody-here/r", "no such user", "~nobody-here/r", "correct it"),
    "resume of a damaged run": Case("--resume run", "is damaged", "run.json", "restore it", run_file("{")),
    "resume of a list": Case("--resume run", "no JSON object", "run.json", "start a new run", run_file([])),
    "resume without a spec": Case(
        "--resume run", "not of this version", "run.json", "start a new run", run_file({"schema": 1})
    ),
    "resume of another version": Case(
        "--resume run", "not of this version", "run.json", "start a new run", run_file({"spec": {"kind": "tournament"}})
    ),
}

SETTINGS = {
    "--set without a value": Case("--set optimizer.lr", "'optimizer.lr'", "--set", "write key=value"),
    "unknown setting": Case("--set optimizer.lrr=1", "no setting", "'optimizer.lrr'", "Did you mean 'optimizer.lr'?"),
    "unknown group": Case("--set typo.key=1", "no setting", "'typo.key'", "Known settings: corpus.column"),
    "whole group": Case("--set optimizer=1", "no setting", "'optimizer'", "Did you mean"),
    **{
        f"{key}={value}": Case(f"--set {key}={value}", f"is {shown or value}", key, mend)
        for key, value, mend, shown in [
            ("corpus.train_rows", "few", "give a whole number or none", "'few'"),
            ("corpus.eval_rows", "1.5", "give a whole number or none", ""),
            ("corpus.test_fraction", "0", "between 0 and 1", "0.0"),
            ("corpus.test_fraction", "nan", "give a finite number", ""),
            ("corpus.split_seed", "-1", "give a seed from 0", ""),
            ("corpus.folds", "1", "at least 2 folds", ""),
            ("corpus.fold", "3", "give corpus.folds too", ""),
            ("corpus.revision", "main", "give a hub id", "'main'"),
            ("tokens.context", "1", "at least 2 tokens", ""),
            ("tokens.context", "long", "give a whole number", "'long'"),
            ("model.layers", "0", "give at least 1 layer", ""),
            ("teacher.steps", "-3", "at least 0", ""),
            ("teacher.steps", "500", "fit in the run", ""),
            ("teacher.min_weight", "1.5", "between 0 and 1", ""),
            ("teacher.tau", "0", "give a positive number", "0.0"),
            ("teacher.kind", "trigram", "choose one of bigram", "'trigram'"),
            ("teacher.kind", "ngram", "set teacher.smoothing=modified_kneser_ney", "mle"),
            ("teacher.order", "3", "set teacher.kind=ngram", ""),
            ("teacher.order", "6", "give a number from 2 to 5", ""),
            ("teacher.min_count", "1,2", "give one number, or one for each order", ""),
            ("teacher.smoothing_strength", "0.5", "leave it out", ""),
            ("teacher.min_count", "0", "keeps every bigram", ""),
            ("optimizer.lr", "0", "give a positive learning rate", "0.0"),
            ("optimizer.lr", "nan", "give a finite number", ""),
            ("optimizer.lr", "fast", "give a number", "'fast'"),
            ("optimizer.beta1", "1", "give a number in [0, 1)", "1.0"),
            ("optimizer.beta2", "-0.1", "give a number in [0, 1)", ""),
            ("optimizer.eps", "0", "give a positive number", "0.0"),
            ("optimizer.weight_decay", "-0.1", "give at least 0", ""),
            ("optimizer.clip_norm", "0", "give a positive norm", "0.0"),
            ("optimizer.clip_norm", "inf", "give a finite number", ""),
            ("optimizer.warmup_steps", "-1", "give at least 0", ""),
            ("optimizer.warmup_steps", "97", "give more steps, or --set", ""),
            ("loop.steps", "1.5", "give a whole number", ""),
            ("loop.batch_blocks", "0", "give at least 1", ""),
            ("loop.accumulation", "0", "give at least 1", ""),
            ("loop.eval_every", "0", "give at least 1", ""),
            ("loop.eval_batch_blocks", "0", "give at least 1", ""),
            ("loop.checkpoint_every", "17", "a multiple of eval_every (16)", ""),
            ("loop.keep_checkpoint", "maybe", "give true or false", "'maybe'"),
            ("loop.device", "tpu", "choose one of auto", "'tpu'"),
            ("seed", "-1", "give a seed from 0", ""),
            ("seed", "none", "give a whole number", "'none'"),
        ]
    },
    "fold beyond the last": Case("--set corpus.folds=3 corpus.fold=3", "is 3 of 3", "corpus.fold", "from 0 to 2"),
    "more folds than rows": Case("--set corpus.folds=601", "has 0 of", "--eval-rows", "change the split"),
    "strength over 1": Case(
        "--smoothing jelinek_mercer --set teacher.smoothing_strength=2", "is 2.0", "smoothing_strength", "weight in (0"
    ),
    "evaluations rarer than the run is long": Case(
        "--set loop.eval_every=97 loop.checkpoint_every=97", "is 97", "loop.eval_every", "give more steps, or --set"
    ),
    "context longer than the text": Case("--set tokens.context=100000", "fewer than one block", "small.txt", "tokens."),
    "batch larger than an epoch": Case("--set loop.batch_blocks=1e9", "1,000,000,000", "batch_blocks", "or give more"),
    "depth in --set": Case("--set model.layers=3", "would change nothing", "model.layers", "the study's own option"),
    "seed in --set": Case("--set seed=3", "would change nothing", "--set seed", "the study's own option"),
    "minimum weight in --set": Case(
        "--set teacher.min_weight=0.3", "would change nothing", "min_weight", "study's own option"
    ),
    "base with a teacher": Case(
        "--set teacher.schedule=linear teacher.steps=5", "has schedule linear", "the base config", "is its control"
    ),
}

SPEC = {
    "no layers": Case("--layers 0", "[0]", "layers", "depths of at least 1"),
    "no depths": Case("--layers", "[]", "layers", "such as --layers 1 2"),
    "depth twice": Case("--layers 1 1", "[1, 1]", "layers", "give different depths"),
    "a million layers": Case("--layers 1000000", "is 1000000", "model.layers", "up to 1000"),
    "no samples": Case("--num-samples 0", "is 0", "num_samples", "give at least 1"),
    "samples of a whole grid": Case("--search grid --num-samples 5", "every setting", "--num-samples", "leave it out"),
    "no schedules": Case("--schedules", "is empty", "search space", "give at least one"),
    "schedule twice": Case("--schedules linear linear", "repeats a value", "linear, linear", "give each once"),
    "control as schedule": Case("--schedules none linear", "which is the control", "search space", "leave it out"),
    "schedule past the run": Case("--schedule-steps 20 200 20", "is 200", "teacher.steps", "that fit in the run"),
    "range upside down": Case("--schedule-steps 40 20 10", "is empty", "range 40..20 by 10", "give low <= high"),
    "range without a step": Case("--schedule-steps 20 40 0", "is empty", "range 20..40 by 0", "a step > 0"),
    "schedule of no steps": Case("--schedule-steps 0 40 20", "is 0", "teacher.steps", "at least 1 scheduling step"),
    "minimum weight over 1": Case(
        "--min-weight 0 1.5 0.5", "0.0..1.5", "range of the minimum weight", "between 0 and 1"
    ),
    "minimum weight no number": Case("--min-weight nan 0.5 0.1", "is not finite", "range nan..0.5", "give finite"),
    "step that is no number": Case("--min-weight 0 1 nan", "is not finite", "by nan", "give finite numbers"),
    "range of a billion values": Case("--min-weight 0 1 1e-9", "more than 10,000", "by 1e-09", "give a larger step"),
    "space of a million schedules": Case(
        "--schedule-steps 1 48 1 --min-weight 0 1 0.001", "432,432 settings", "the space", "give larger increments"
    ),
    "minimum weights of the same name": Case(
        "--min-weight 0.1 0.1000003 1e-7", "differ in no digit", "teacher.min_weight", "give larger steps"
    ),
    "rung of step 0": Case("--grace-period 0", "at step 0", "ASHA's first rung", "at least 1"),
    "rung between evaluations": Case("--grace-period 70", "not evaluation steps", "ASHA's rungs", "a multiple of"),
    "rung past the run": Case("--grace-period 500", "nothing could be stopped", "ASHA's first rung", "give an earlier"),
    "all go on": Case("--reduction-factor 1", "is 1", "ASHA's reduction factor", "give at least 2"),
    "rung without ASHA": Case("--no-asha --grace-period 48", "--no-asha", "--grace-period", "leave one of them out"),
    "negative seed": Case("--seed -1", "is -1", "seed", "give a seed from 0"),
    "seed beyond 32 bits": Case("--seed 4294967296", "is 4294967296", "seed", "to 4294967295"),
    "negative searcher's seed": Case("--search-seed -1", "is -1", "search_seed", "give a seed from 0"),
    "large searcher's seed": Case("--search-seed 5000000", "is 5000000", "search_seed", "to 4000000"),
    "confirmed by its own seed": Case(
        "--seed 1 --confirm-seeds 1", "uses seed 1", "confirmation [1]", "give different"
    ),
    "rates upside down": Case("--rates 3e-3 1e-3", "0.003, 0.001", "search space", "once, ascending"),
    "rate twice": Case("--rates 1e-3 1e-3", "0.001, 0.001", "search space", "give each number once"),
    "rate of zero": Case("--rates 0", "is 0", "optimizer.lr", "give a positive learning rate"),
    "negative rate": Case("--rates -1", "is -1", "optimizer.lr", "give a positive learning rate"),
    "rate that is no number": Case("--rates nan", "nan", "search space", "give finite numbers"),
    "no rates": Case("--rates", "is empty", "--rates", "name at least one"),
    "warm-up past the run": Case("--warmup-steps 500", "is 500", "optimizer.warmup_steps", "give more steps"),
    "no warm-up": Case("--warmup-steps", "is empty", "--warmup-steps", "name at least one"),
    "no teachers": Case("--teachers", "is empty", "--teachers", "name at least one"),
    "unknown teacher": Case("--teachers bigram hexagram", "'hexagram'", "--teachers", "choose one of uniform"),
    "teacher that cannot be imported": Case(
        "--teachers my_absent_module:Best", "No module named 'my_absent_module'", "teacher.kind", "PYTHONPATH"
    ),
    "teacher twice": Case("--teachers bigram bigram", "two arms", "bigram", "give each arm once"),
    "negative margin": Case("--margin -1", "is -1", "margin", "at least 0"),
    "confirmed twice": Case("--confirm-seeds 1 1", "uses seed 0", "confirmation [1, 1]", "give different"),
    "confirmed by a negative seed": Case("--confirm-seeds -1", "is -1", "the confirmation", "give a seed from 0"),
}

CORPUS = {
    "missing corpus": Case("--corpus nowhere.parquet", "does not exist", "'nowhere.parquet'", "an existing file"),
    "corpus without a name": Case("--corpus ''", "does not exist", "''", "an existing file"),
    "corpus in nobody's home": Case("--corpus ~nobody-here/a.txt", "no such user", "~nobody-here/a.txt", "correct it"),
    "corpus of a name too long": Case(f"--corpus {'a' * 5000}.txt", "name too long", "'aaaa", "correct it"),
    "corpus on the hub without network": Case("--corpus nobody/nothing", "HF_HUB_OFFLINE", "nobody/nothing", "or run"),
    "corpus of another kind": Case(
        "--corpus bad.doc", "unknown ending '.doc'", "bad.doc", "give a .parquet", text(b"a", "bad.doc")
    ),
    "folder without a corpus": Case(
        "--corpus empty", "no files of text", "empty holds no", "give a .parquet", lambda f: (f / "empty").mkdir()
    ),
    "pipe": Case("--corpus bad.txt", "is a pipe", "bad.txt", "give a .parquet", lambda f: os.mkfifo(f / "bad.txt")),
    "unreadable": Case("--corpus bad.txt", "cannot read", "bad.txt", "check its permissions", unreadable),
    "empty text": Case("--corpus bad.txt", "has no rows", "bad.txt", "give a corpus with text", text(b"")),
    "one row": Case("--corpus bad.txt", "has 0 of the corpus's 1", "train", "give a larger corpus", text(b"one row\n")),
    "blank rows": Case("--corpus bad.txt", "give 0 tokens", "bad.txt", "give more rows", text(b" \n\n" * 500)),
    "too few words": Case(
        "--corpus bad.txt --train-rows 8 --eval-rows 1",
        "fewer than one block of 128",
        "bad.txt",
        "give more rows",
        text(b"a word\n" * 10),
    ),
    "binary": Case(
        "--corpus bad.txt", "NUL byte in row 1", "bad.txt", "give a UTF-8 text", text(bytes(range(256)) * 99)
    ),
    "null byte": Case(
        "--corpus bad.txt", "NUL byte in row 2", "bad.txt", "give a UTF-8 text", text(b"fine\nnot\0fine\n")
    ),
    "Latin-1": Case(
        "--corpus bad.txt", "is not UTF-8", "row 2 of", "convert the file", text(b"fine\nfa\xe7ade\n" * 300)
    ),
    "UTF-16": Case("--corpus bad.txt", "is UTF-16", "row 1 of", "convert the file", text("text\n".encode("utf-16"))),
    "column of a text file": Case("--column body", "has no column 'body'", "small.txt", "leave --column out"),
    "column of the built-in text": Case(
        "--corpus builtin --column body", "no column 'body'", "built-in", "use the column"
    ),
    "jsonl with a damaged line": Case(
        "--corpus bad.jsonl",
        "is not a JSON object",
        "row 2 of",
        "one JSON object a line",
        text(b'{"text": "a"}\n{"text": "b\n' * 300, "bad.jsonl"),
    ),
    "jsonl with a damaged line far below": Case(
        "--corpus bad.jsonl",
        "is not a JSON object",
        "row 500 of",
        "one JSON object a line",
        text(b'{"text": "a b c"}\n' * 499 + b"{\n" + b'{"text": "a"}\n' * 99, "bad.jsonl"),
    ),
    "jsonl of a list": Case(
        "--corpus bad.json",
        "is not a JSON object",
        "row 1 of",
        "one JSON object a line",
        text(b'[{"text": "a"}]\n', "bad.json"),
    ),
    "jsonl without such a column": Case(
        "--corpus bad.jsonl", "no column 'text'", "row 1 of", "one of 'body'", text(b'{"body": "a"}\n', "bad.jsonl")
    ),
    "jsonl of numbers": Case(
        "--corpus bad.jsonl", "holds no text", "row 1 of", "a column of strings", text(b'{"text": 3}\n', "bad.jsonl")
    ),
    "jsonl of NaN": Case(
        "--corpus bad.jsonl", "holds no text", "row 1 of", "a column of strings", text(b'{"text": NaN}\n', "bad.jsonl")
    ),
    "jsonl of null": Case(
        "--corpus bad.jsonl",
        "give 0 tokens",
        "bad.jsonl",
        "give more rows",
        text(b'{"text": null}\n' * 600, "bad.jsonl"),
    ),
    "parquet that is none": Case(
        "--corpus bad.parquet", "is not a whole parquet", "bad.parquet", "download", text(b"PAR1", "bad.parquet")
    ),
    "parquet damaged in the middle": Case("--corpus bad.parquet", "is not", "bad.parquet", ":", damaged_parquet),
    "parquet without such a column": Case(
        "--corpus bad.parquet", "no column 'text'", "bad.parquet", "one of 'title'", parquet(title=["a"])
    ),
    "parquet of numbers": Case(
        "--corpus bad.parquet", "holds int64, not text", "bad.parquet", "a column of strings", parquet(text=[1, 2])
    ),
    "parquet of NaN": Case(
        "--corpus bad.parquet",
        "holds double, not text",
        "bad.parquet",
        "a column of strings",
        parquet(text=[float("nan")] * 9),
    ),
    "parquet of untyped nulls": Case(
        "--corpus bad.parquet", "holds null, not text", "bad.parquet", "a column of strings", parquet(text=[None] * 9)
    ),
    "parquet of null texts": Case(
        "--corpus bad.parquet",
        "give 0 tokens",
        "bad.parquet",
        "give more rows",
        parquet(text=pa.array([None] * 600, pa.string())),
    ),
    "parquet of bytes": Case(
        "--corpus bad.parquet",
        "holds binary, not text",
        "bad.parquet",
        "a column of strings",
        parquet(text=[b"\xff"] * 9),
    ),
    "parquet without rows": Case(
        "--corpus bad.parquet",
        "has no rows",
        "bad.parquet",
        "give a corpus with text",
        parquet(text=pa.array([], pa.string())),
    ),
    "parquet with two columns of the name": Case(
        "--corpus bad.parquet", "2 columns 'text'", "bad.parquet", "rename or remove", two_columns
    ),
    "jsonl with a comma too many": Case(
        "--corpus bad.jsonl",
        "a comma with nothing after it, at character 14",
        "row 601 of",
        "one JSON object a line",
        text(b'{"text": "a"}\n' * 600 + b'{"text": "a",}\n', "bad.jsonl"),
    ),
    "jsonl.gz that is cut": Case(
        "--corpus bad.jsonl.gz",
        "is not a whole .gz file",
        "bad.jsonl.gz",
        "download",
        text(gzip.compress(b'{"text": "a"}\n' * 600)[:-9], "bad.jsonl.gz"),
    ),
    "csv with an unquoted comma": Case(
        "--corpus bad.csv", "2 values", "line 2 of", "quote values", text(b"text\none, two\n", "bad.csv")
    ),
    "folder without a train split": Case(
        "--corpus three", "no split 'train'", "three", "one of 'test', 'validation'", split_files("test", "dev")
    ),
    "split that is not there": Case(
        "--corpus three --set corpus.split=dev", "no split 'dev'", "three", "one of 'train'", split_files("train")
    ),
    "split of a file": Case("--set corpus.split=dev", "has no splits", "corpus.split is 'dev'", "leave it out"),
    "split of no name": Case("--set corpus.split=", "is empty", "corpus.split", "such as train"),
    "folder of several forms": Case(
        "--corpus three", "several forms (a.txt; b.csv)", "three", "give a pattern", split_files("a.txt", "b.csv")
    ),
    "pattern of nothing": Case("--corpus three/*.txt", "no file matches", "three/*.txt", "correct --corpus"),
    "damaged saved data set": Case(
        "--corpus .", "is not a whole saved", "workplace", "save it again", text(b"{", "state.json")
    ),
}

TOKENIZER = {
    "no size": Case("--tokenizer train:", "'train:'", "--tokenizer", "give a vocabulary size"),
    "size in words": Case("--tokenizer train:abc", "'train:abc'", "--tokenizer", "give a vocabulary size"),
    "size below the alphabet": Case("--tokenizer train:100", "'train:100'", "--tokenizer", "from 512"),
    "size beyond reason": Case("--tokenizer train:1000001", "'train:1000001'", "--tokenizer", "to 1000000"),
    "missing tokenizer": Case("--tokenizer ./none", "does not exist", "'./none'", "set --tokenizer to"),
    "tokenizer in nobody's home": Case("--tokenizer ~nobody-here/t", "no such user", "~nobody-here/t", "correct it"),
    "folder without tokenizer.json": Case("--tokenizer .", "has no tokenizer.json", "tokenizer '", "save the fast"),
    "damaged tokenizer.json": Case(
        "--tokenizer .", "is not a whole", "tokenizer.json", "save the fast", text(b'{"model": ', "tokenizer.json")
    ),
    "tokenizer.json of something else": Case(
        "--tokenizer .", "is not a whole", "tokenizer.json", "save the fast", text(b'{"a": 1}', "tokenizer.json")
    ),
    "damaged tokenizer_config.json": Case(
        "--tokenizer words",
        "no JSON object",
        "tokenizer_config.json",
        "restore it from a copy",
        tokenizer(WORDS, config=[1]),
    ),
    "tokenizer without an end of text": Case(
        "--tokenizer words", "no end-of-text token", "words", "tokens.eos=TOKEN", tokenizer({"<unk>": 0, "a": 1})
    ),
    "end of text that the vocabulary lacks": Case(
        "--tokenizer words",
        "'<|end|>' as eos_token",
        "tokenizer_config.json",
        "correct the name",
        tokenizer(WORDS, config={"eos_token": "<|end|>"}),
    ),
    "end of text that is no text": Case(
        "--tokenizer words",
        "2 as eos_token",
        "tokenizer_config.json",
        "write the text of one token",
        tokenizer(WORDS, config={"eos_token": 2}),
    ),
    "setting that names no token": Case(
        "--tokenizer words --set tokens.eos=<end>", "'<end>'", "tokens.eos", "give one of its tokens", tokenizer(WORDS)
    ),
    "end of text for a tokenizer trained here": Case(
        "--tokenizer train:512 --set tokens.eos=</s>", "'</s>'", "tokens.eos", "leave tokens.eos out"
    ),
    "hub tokenizer of which the end of text is not known": Case(
        "--tokenizer org/name",
        "which names its end of text",
        "tokenizer_config.json of 'org/name'",
        "run once with network",
        hub_tokenizer,
    ),
    "tokenizer of a newer library": Case(
        "--tokenizer .",
        "cannot be read by tokenizers ",
        "tokenizer.json",
        "a newer version of tokenizers?",
        text(b'{"version": "9.0", "model": {"type": "New"}}', "tokenizer.json"),
    ),
    "tokenizer that does not know the text": Case(
        "--tokenizer words",
        "cannot read 600 of 600 rows",
        "mostly becomes '<unk>', or nothing",
        "take a tokenizer made for this text",
        tokenizer(WORDS),
    ),
    "tokenizer without a token for what it does not know": Case(
        "--tokenizer words", "cannot read a row", "words", "take one that has", tokenizer({"</s>": 0}, unknown="[UNK]")
    ),
    "tokenizer of two million ids": Case(
        "--tokenizer words", "ids up to 2,000,000", "words", "number its tokens", tokenizer(WORDS | {"b": 2_000_000})
    ),
    "ids outside the vocabulary": Case(
        "--tokenizer words --packing as_published",
        "gave token id 9999",
        "tokens: check",
        "check its tokenizer.json",
        tokenizer(WORDS | {word: 5 + i for i, word in enumerate(SENTENCE_WORDS)}, bos=9999),
    ),
}

MODEL = {
    "missing model": Case("--model llama", "neither tiny nor small-llama2", "'llama'", "nor a folder with config.json"),
    "model in nobody's home": Case("--model ~nobody-here/m", "no such user", "~nobody-here/m", "correct it"),
    "model without config": Case("--model .", "neither tiny", "workplace", "nor a folder with config.json"),
    "model of damaged JSON": Case("--model llama", "is damaged", "config.json", "restore it", raw_model("{")),
    "model of a list": Case("--model llama", "no JSON object", "config.json", "restore it", raw_model("[1]")),
    "model of another kind": Case("--model llama", "'t5'", "llama", "no causal language model", model(model_type="t5")),
    "model with a misspelt key": Case(
        "--model llama", "'hiden_size'", "config.json", "did you mean 'hidden_size'?", model(hiden_size=64)
    ),
    "model without a width": Case(
        "--model llama", "no hidden_size", "config.json", "give a whole number", model(without="hidden_size")
    ),
    "model of a width in words": Case(
        "--model llama", "hidden_size 'wide'", "config.json", "give a whole number", model(hidden_size="wide")
    ),
    "model without heads": Case(
        "--model llama", "num_attention_heads 0", "config.json", "at least 1", model(num_attention_heads=0)
    ),
    "heads that do not divide": Case(
        "--model llama", "not a multiple", "llama", "mend its config.json", model(hidden_size=30)
    ),
    "groups that do not divide": Case(
        "--model llama", "not a multiple", "key_value_heads 3", "mend its config.json", model(num_key_value_heads=3)
    ),
    "unknown activation": Case("--model llama", "'gelu2'", "llama", "mend its config.json", model(hidden_act="gelu2")),
    "unknown rope": Case(
        "--model llama", "'odd'", "llama", "mend its config.json", model(rope_scaling={"rope_type": "odd"})
    ),
    "weights of zeros": Case(
        "--model llama", "gives no gradient", "llama", "mend its config.json", model(initializer_range=1e-46)
    ),
    "vocabulary of the tokenizer larger than the model's": Case(
        "--model llama --set tokens.context=32",
        "vocab_size 300",
        "config.json",
        "raise vocab_size",
        model(vocab_size=300),
    ),
    "context longer than the model's": Case(
        "--model llama --set tokens.context=4096",
        "max_position_embeddings 2048",
        "config.json",
        "lower tokens.context",
        model(),
    ),
}

STUDIES = {
    "no seeds": Case("--seeds", "[]", "--seeds", "such as --seeds 0 1 2", script="layer_depth"),
    "seed twice": Case("--seeds 1 1", "[1, 1]", "--seeds", "give different seeds", script="layer_depth"),
    "negative study seed": Case("--seeds -1", "is -1", "--seeds", "give a seed from 0", script="schedule_types"),
    "control as the teacher": Case("--schedule none", "is the control", "--schedule", "another", script="kfold"),
    "teacher of no steps": Case("--schedule-steps 0", "is 0", "teacher.steps", "at least 1", script="layer_depth"),
    "teacher longer than the run": Case(
        "--schedule-steps 500", "is 500", "teacher.steps", "fit in", script="full_pretraining"
    ),
    "study's minimum weight over 1": Case(
        "--min-weight 1.5", "is 1.5", "min_weight", "between 0 and 1", script="training_budget"
    ),
    "study's depths in --set": Case(
        "--set model.layers=3", "change nothing", "model.layers", "leave", script="layer_depth"
    ),
    "study's fold in --set": Case("--set corpus.fold=2", "change nothing", "corpus.fold", "leave", script="kfold"),
    "study's seed in --set": Case("--set seed=7", "change nothing", "--set seed", "leave", script="early_stage"),
    "teacher of a study without": Case(
        "--set teacher.tau=3", "change nothing", "teacher.tau", "leave", script="validation_size"
    ),
    "folds of none": Case("--set corpus.folds=none", "is none", "corpus.folds", "give at least 2", script="kfold"),
    "validation set five times too large": Case("", "needs 250 rows", "--eval-rows", "lower", script="validation_size"),
    "strength of an arm without": Case(
        "--smoothing add_k --set teacher.smoothing_strength=0.1",
        "no strength",
        "modified_kneser_ney",
        "leave",
        script="teacher_controls",
    ),
    "study of no steps": Case("--steps 0", "is 0", "--steps", "give at least 1", script="schedule_steps"),
}

ANALYSES = ("summary", "report", "curves", "schedule_report", "asha_replay", "kfold_table", "contrasts")  # by `load`
ANALYSIS = {
    **{
        f"{a} of no run": Case(".", "not a run folder", "run.json", "give one", script=f"analysis.{a}")
        for a in ANALYSES
    },
    "summary of nothing": Case("no/run", "not a run folder", "no/run", "give one", script="analysis.summary"),
    "report of a damaged run": Case(
        "run", "is damaged", "run.json", "restore it", run_file("{"), script="analysis.report"
    ),
    "port of no page": Case(
        "run --port 8080", "says where --serve shows the page", "--port", "add --serve", script="analysis.report"
    ),
    "page served and written": Case(
        "run --serve --out page.html", "writes no file", "--out", "leave out", script="analysis.report"
    ),
    "page of no run": Case(". --serve", "not a run folder", "run.json", "give one", script="analysis.report"),
    "port out of range": Case(
        "run --serve --port 70000", "is 70000", "--port", "give a port from 1 to 65535", script="analysis.report"
    ),
    "summary of a list": Case(
        "run", "no JSON object", "run.json", "restore it", run_file([1]), script="analysis.summary"
    ),
    "curves of a file": Case("small.txt", "not a run folder", "small.txt", "give one", script="analysis.curves"),
    "curves of nothing": Case("", "at least one", "RESULTS", "give", script="analysis.curves"),
    "contrasts within no margin": Case(
        "run --margin 0", "is 0", "--margin", "give nats", run_file("{"), script="analysis.contrasts"
    ),
    "contrasts of a damaged run": Case(
        "run", "is damaged", "run.json", "restore it", run_file("{"), script="analysis.contrasts"
    ),
    "published runs that are none": Case(
        ".", "holds no study", "runs/", "give the published", script="analysis.published_runs"
    ),
    "published runs in a file": Case(
        "small.txt", "is not a folder", "small.txt", "give", script="analysis.published_runs"
    ),
}


def table(words: str, *fragments: str, make: Callable[[Path], object] = lambda folder: None) -> Case:
    """A mistake in the command that makes a table of the small corpus; options in `words` replace the others."""
    return Case(f"--corpus small.txt --tokenizer train:512 --out t {words}", *fragments, make, "trainable.teacher")


TABLE = {
    "table of no corpus": table("--corpus no.txt", "does not exist", "'no.txt'", "set --corpus"),
    "table of no column": table("--column x", "'x'", "small.txt", "text"),
    "table of no tokenizer": table("--tokenizer no/folder", "on this disk", "'no/folder'", "give --tokenizer a folder"),
    "table of a small vocabulary": table("--tokenizer train:9", "'train:9'", "--tokenizer", "give a vocabulary size"),
    "table without an end of text": table(
        "--tokenizer words", "no end-of-text token", "words", "--eos=TOKEN", make=tokenizer({"<unk>": 0, "a": 1})
    ),
    "table of unknown words": table(
        "--tokenizer words",
        "cannot read 600 of 600",
        "words",
        "take a tokenizer",
        make=tokenizer({"<unk>": 0, "</s>": 1}, config={"eos_token": "</s>"}),
    ),
    "table with an eos for a trained tokenizer": table("--eos x", "'x'", "--eos", "leave --eos out"),
    "table of order 6": table("--order 6", "is 6", "--order", "from 2 to 5"),
    "table of smoothed trigrams": table("--order 3 --smoothing mle", "is mle", "--smoothing", "leave out --smoothing"),
    "table of another strength": table("--strength 2", "is 2.0", "--strength", "leave it out"),
    "table of falling counts": table("--order 3 --min-count 2,1", "is 2,1", "--min-count", "give one number"),
    "table of half a count": table("--min-count 1.5", "is 1.5", "--min-count", "a whole number"),
    "table of too many rows": table("--train-rows 900", "900 rows", "--train-rows", "lower --train-rows"),
    "table of too few rows": table(
        "--eval-rows 1 --context 1024", "fewer than one block", "small.txt", "a smaller --context"
    ),
    "table in place of a folder": table("--out .", "is a folder", "--out", "name a file in it"),
    "table in place of a file": table("--out small.txt", "exists already", "small.txt", "another --out"),
    "table below a file": table("--out small.txt/t", "cannot be written", "small.txt/t", "give a file"),
    "table in place of a tokenizer": table(
        "", "exists already", "t.tokenizer.json", "another --out", make=text(b"{}", "t.tokenizer.json")
    ),
}

CASES = RUN | SETTINGS | SPEC | CORPUS | TOKENIZER | MODEL | STUDIES | ANALYSIS | TABLE


def command(case: Case) -> list[str]:
    words = shlex.split(case.words)
    if "." in case.script:
        return words
    given = {word.partition("=")[0] for word in words}
    return words + [
        word
        for option, value in SMALL.items()
        if not {option, KEYS.get(option), "--resume"} & given
        for word in (option, value)
    ]


def told_of(case: Case) -> subprocess.CompletedProcess[str]:
    """Exit status and output of `python sweeps/SCRIPT.py ...` or `python -m MODULE ...`, in this process."""
    module = case.script if "." in case.script else f"sweeps.{case.script}"
    return run_module(module, *command(case))


def left_behind(folder: Path, before: set[Path]) -> set[Path]:
    """New files, without finished caches and locks."""
    new = {path for path in folder.rglob("*") if path.is_file()} - before
    cache = folder / "cache"
    return {p for p in new if cache not in p.parents or ".tmp" in str(p.relative_to(cache))} | set(
        folder.glob("results/*/*")
    )


@pytest.mark.parametrize("name", CASES)
def test_mistake_is_told_in_one_sentence_and_leaves_nothing(name: str, workplace: Path) -> None:
    case = CASES[name]
    case.make(workplace)
    before = {path for path in workplace.rglob("*") if path.is_file()}
    done = told_of(case)
    told = done.stderr
    assert done.returncode == USAGE_ERROR, told
    assert told.startswith("error: ") or case.script.startswith("analysis."), told
    assert told.count("\n") == 1 and told.rstrip()[-1] in ".?", told
    for part, fragment in (("what", case.what), ("where", case.where), ("what to do", case.mend)):
        fragment = str(workplace) if fragment == "workplace" else fragment
        assert fragment in told, f"{part}: {told}"
    assert not left_behind(workplace, before)


# ---- mistakes that the parser of the command line refuses ----------------------------------------------------------

WRONG_KIND = {
    "--steps ten": "ten",
    "--train-rows 1.5": "1.5",
    "--packing tight": "tight",
    "--layers 1 two": "two",
    "--schedule-steps 20 40": "--schedule-steps",
    "--min-weight low high step": "low",
    "--asha yes": "yes",
    "--corpus": "--corpus",
    "--stpes 10": "--steps",
    "nonsense": "nonsense",
}


@pytest.mark.parametrize("words", WRONG_KIND)
def test_value_of_a_wrong_kind_is_named_and_exits_with_2(words: str, workplace: Path) -> None:
    done = run_module(f"sweeps.{SEARCH}", *shlex.split(words))
    assert done.returncode == USAGE_ERROR
    assert WRONG_KIND[words] in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in workplace.iterdir()] == ["small.txt"]


@pytest.mark.parametrize("words", ["--schedule linear", "--schedule-steps 40", "--min-weight 0.1"])
@pytest.mark.parametrize("script", ["early_stage", "schedule_types", "schedule_steps", "validation_size"])
def test_study_that_varies_the_schedule_has_no_option_for_it(script: str, words: str) -> None:
    done = run_module(f"sweeps.{script}", *words.split())
    assert done.returncode == USAGE_ERROR
    assert "Unrecognized" in done.stderr


# ---- command lines that only look like mistakes --------------------------------------------------------------------


def plan_of(words: str) -> str:
    """The output of --dry-run for an accepted command line, in one line."""
    done = told_of(Case(f"{words} --dry-run", "", "", ""))
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def test_several_set_options_all_count() -> None:
    plan = plan_of("--set loop.accumulation=3 --set loop.batch_blocks=2 --set=tokens.context=64")
    assert "96 steps of 6 x 64 tokens" in plan


def test_whole_numbers_may_be_written_with_an_exponent() -> None:
    assert "; 200 steps of" in plan_of("--set loop.steps=2e2")


def test_linked_corpus_is_known_by_the_name_of_the_link(workplace: Path) -> None:
    """In the hub's cache links have the names, and the files behind them are named by their digests."""
    (workplace / "small.txt").rename(workplace / "0123abc")
    (workplace / "link.txt").symlink_to(workplace / "0123abc")
    assert "link.txt" in plan_of("--corpus link.txt")


def test_the_plan_says_which_files_and_which_split_are_read(workplace: Path) -> None:
    split_files("train", "test", "readme.md")(workplace)
    told = "1 text file, train.txt; split train is read, not test (corpus.split); not read: readme.md"
    assert f"corpus {workplace}/three: {told}" in plan_of("--corpus three")
    assert "split test is read, not train" in plan_of("--corpus three --set corpus.split=test")


def test_a_pattern_is_read_from_any_working_directory(workplace: Path) -> None:
    split_files("part-0", "part-1", "other.md")(workplace)
    assert f"corpus {workplace}/three/part-*: 2 text files, part-0.txt to part-1.txt" in plan_of(
        "--corpus 'three/part-*'"
    )
