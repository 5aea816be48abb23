"""A resumed run takes its own data from wherever they lie now; data that have changed are refused before Ray starts."""

import runpy
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tyro
from paths import ROOT
from small_corpus import small_sentences
from sweep_specs import run_record
from tokenizers import Tokenizer, models, pre_tokenizers

from sweeps.engine import resumption
from sweeps.engine.cli import USAGE_ERROR, main, work_of
from sweeps.engine.cluster import ray_start
from sweeps.engine.folder import RunFolder
from sweeps.engine.options import with_size
from sweeps.engine.precision import settled
from sweeps.engine.run import write_run_file
from sweeps.schedule_search import SearchOptions, schedule_search
from trainable import names
from trainable.errors import InputError
from trainable.prepare import prepare_runs
from trainable.record.cache import CACHE_VARIABLE
from trainable.student.precision import Best

OPTIONS = "--corpus {corpus} --tokenizer {tokenizer} --train-rows 400 --eval-rows 50 --layers 1 --num-samples 2"


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a new folder with a small corpus, a tokenizer and its own cache; fail if Ray would start."""

    def no_ray(*_: object) -> None:
        raise AssertionError("Ray would have been started")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_start, "start_ray", no_ray)
    write_corpus(tmp_path / "books.txt")
    write_tokenizer(tmp_path / "words")
    return tmp_path


def write_corpus(path: Path, last: str = "") -> None:
    path.write_text("".join(f"{line}\n" for line in [*small_sentences(), last] if line), encoding="utf-8")


def write_tokenizer(folder: Path, *more: str) -> None:
    folder.mkdir()
    words = dict.fromkeys(["<unk>", "</s>", *" ".join(small_sentences()).split(), *more])
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["</s>"])
    made.save(str(folder / "tokenizer.json"))


def call(words: str) -> int:
    return main(schedule_search, SearchOptions, "The study.", shlex.split(words))


def begin(folder: Path, *more: str, corpus: str = "books.txt", tokenizer: str = "words") -> RunFolder:
    """Begin a run with these options, as its driver does, in results/schedule_search/mine; return its folder."""
    words = shlex.split(OPTIONS.format(corpus=corpus, tokenizer=tokenizer))
    options = tyro.cli(SearchOptions, args=[*words, *more], config=(tyro.conf.OmitArgPrefixes,))
    spec, because = settled(schedule_search(options))
    run = RunFolder.named(folder / "results", spec.study, "mine")
    run.make()
    facts = run_record(spec).to_dict() | {"precision_from": because}
    write_run_file(run, spec, facts | prepare_runs(spec.configs()).facts)
    return run


def move(folder: Path, name: str) -> Path:
    (folder / "elsewhere").mkdir(exist_ok=True)
    return Path(shutil.move(folder / name, folder / "elsewhere" / name))


MOVED = {"corpus": "books.txt", "tokenizer": "words"}


@pytest.mark.parametrize("part", MOVED)
@pytest.mark.parametrize("again", ["--resume results/schedule_search/mine", "--run mine"])
def test_a_run_goes_on_with_a_corpus_or_a_tokenizer_that_has_moved(workplace: Path, part: str, again: str) -> None:
    begin(workplace)
    there = move(workplace, MOVED[part])
    given = {**MOVED, part: str(there)}
    words = OPTIONS.format(**given) if again.startswith("--run") else f"--{part} {there}"
    assert call(f"{again} {words} --dry-run") == 0


@pytest.mark.parametrize("part", MOVED)
@pytest.mark.parametrize("again", ["--resume results/schedule_search/mine", "--run mine"])
@pytest.mark.parametrize("dry", ["--dry-run", ""])
def test_a_moved_corpus_or_tokenizer_that_has_changed_is_refused_before_ray_starts(
    workplace: Path, part: str, again: str, dry: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin(workplace)
    there = move(workplace, MOVED[part])
    if part == "corpus":
        write_corpus(there, "one row more.")
    else:
        shutil.rmtree(there)
        write_tokenizer(there, "more")
    given = {**MOVED, part: str(there)}
    words = OPTIONS.format(**given) if again.startswith("--run") else f"--{part} {there}"
    assert call(f"{again} {words} {dry}") == USAGE_ERROR
    said = capsys.readouterr().err
    assert f"error: the {part} of run {run.address} is no longer what its trials used" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "part", "mend"),
    [("books.txt", "corpus", "with --corpus"), ("words", "tokenizer", "with --tokenizer")],
)
def test_a_missing_corpus_or_tokenizer_is_named_with_the_option_that_gives_its_new_place(
    workplace: Path, name: str, part: str, mend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(workplace)
    move(workplace, name)
    assert call("--resume results/schedule_search/mine --dry-run") == USAGE_ERROR
    said = capsys.readouterr().err
    assert f"the {part} of run" in said and f"is not at {workplace / name} any more: say where" in said and mend in said


def test_a_run_remembers_where_its_files_have_moved(workplace: Path) -> None:
    run = begin(workplace)
    spec, there = run.spec(), str(move(workplace, "books.txt"))
    places, _ = resumption.check_data(run, spec, there, None)
    prepared = prepare_runs(spec.configs(), places=places)
    write_run_file(run, spec, run_record(spec).to_dict() | prepared.facts, places)
    assert run.spec() == spec, "the spec must not change: checkpoints and ledgers belong to it"
    assert run.record().places == {str(workplace / "books.txt"): there}
    assert call("--resume results/schedule_search/mine --dry-run") == 0
    assert set(prepared.tables) == set(run.record().tables)


def test_a_kept_run_names_its_corpus_without_a_folder_and_accepts_its_new_place(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """keep_run.py keeps a run of several sittings without paths and without trials that have not ended."""
    run, kept = begin(workplace), workplace / "kept"
    run.open_trial(run.spec().groups[0].search_plan({"optimizer.lr": 0.003, "optimizer.warmup_steps": 10}))
    there = move(workplace, "books.txt")
    keep = runpy.run_path(str(ROOT / "tests" / "benchmarks" / "keep_run.py"))["keep"]
    keep(run.path, kept)
    assert str(there.parent.parent / "books.txt") not in (kept / names.RUN_FILE).read_text()
    assert not list((kept / names.TRIALS_FOLDER).iterdir())
    assert call(f"--resume {kept} --dry-run") == USAGE_ERROR
    assert "is not at books.txt any more: say where it lies now with --corpus" in capsys.readouterr().err
    spec = RunFolder.open(kept).spec()
    places, _ = resumption.check_data(RunFolder.open(kept), spec, str(there), None)
    prepared = prepare_runs(spec.configs(), places=places)
    assert set(prepared.tables) == set(RunFolder.open(kept).record().tables), "the tables have the keys of the new name"


def test_a_corpus_that_is_back_in_its_old_place_is_found_there_again(workplace: Path) -> None:
    run, books = begin(workplace), workplace / "books.txt"
    there = move(workplace, "books.txt")
    resumption.remember(run, resumption.check_data(run, run.spec(), str(there), None)[0])
    there.rename(books)
    with pytest.raises(InputError, match=f"is not at {there} any more: say where"):
        resumption.check_data(run, run.spec(), None, None)
    assert resumption.check_data(run, run.spec(), "books.txt", None)[0] == {}
    resumption.remember(run, {})
    assert "places" not in run.record().to_dict()


def test_a_run_without_moved_files_records_no_places(workplace: Path) -> None:
    run = begin(workplace)
    assert "places" not in run.record().to_dict()


@pytest.mark.parametrize(
    "option",
    ["--layers 2", "--steps 9", "--set optimizer.lr=1", "--seed 3", "--smoke-test", "--results x", "--no-asha"],
)
def test_an_option_that_a_resumption_would_ignore_is_refused_by_name(
    workplace: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(workplace)
    assert call(f"--resume results/schedule_search/mine {option}") == USAGE_ERROR
    said = capsys.readouterr().err
    assert f"error: {option.split()[0]} beside --resume would change nothing" in said


def test_a_tokenizer_that_a_run_trains_itself_cannot_be_replaced(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(workplace, tokenizer="train:512")
    assert call("--resume results/schedule_search/mine --tokenizer words --dry-run") == USAGE_ERROR
    assert "--tokenizer beside --resume: run" in capsys.readouterr().err


def test_a_dry_run_of_a_resumption_needs_the_lock_and_free_disk_space(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin(workplace)
    with run.locked():
        assert call("--resume results/schedule_search/mine --dry-run") == USAGE_ERROR
        assert "is in use by another process: wait for it to end." in capsys.readouterr().err
    monkeypatch.setattr("trainable.record.files.free_bytes", lambda path: 0)
    assert call("--resume results/schedule_search/mine --dry-run") == USAGE_ERROR
    assert "has 0.0 MiB free but the checkpoints, ledgers and tables of this run need" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_is_reported_by_a_dry_run(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(workplace / "books.txt"))  # a file
    assert call(f"{OPTIONS.format(**MOVED)} --dry-run") == USAGE_ERROR
    said = capsys.readouterr().err
    assert f"cannot write {workplace / 'books.txt'}" in said and CACHE_VARIABLE in said


def test_a_results_folder_that_cannot_be_made_is_reported_by_a_dry_run(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(f"{OPTIONS.format(**MOVED)} --dry-run --results books.txt/results") == USAGE_ERROR
    said = capsys.readouterr().err
    assert (
        said
        == f"error: results folder books.txt/results cannot be made in {workplace}/books.txt: give --results DIR.\n"
    )


def test_a_run_with_other_settings_is_refused(workplace: Path) -> None:
    run = begin(workplace)
    other = replace(run.spec(), num_samples=1)
    with pytest.raises(InputError, match="num_samples was 2, now 1"):
        resumption.check_same(run, other)


def test_a_missing_model_folder_is_named_and_must_be_put_back(workplace: Path) -> None:
    run = begin(workplace)
    spec = run.spec()
    gone = replace(spec, base=replace(spec.base, model=replace(spec.base.model, name=str(workplace / "llama"))))
    with pytest.raises(InputError, match=r"the model of run .* is not at .*llama any more: put it, or a link to it"):
        resumption.check_data(run, gone, None, None)


def test_a_run_that_has_begun_keeps_its_own_size_whatever_minutes_would_choose(workplace: Path) -> None:
    """The size that --minutes chose at the start is in the spec, and other minutes do not change it."""
    words = {"corpus": "books.txt", "tokenizer": "words", "train_rows": 400, "eval_rows": 50, "layers": (1,)}
    options = SearchOptions(minutes=10, run="mine", **words)  # type: ignore[arg-type]
    sized = settled(schedule_search(with_size(options, 48, 3))).spec
    run = RunFolder.named(workplace / "results", sized.study, "mine")
    run.make()
    write_run_file(run, sized, run_record(sized).to_dict() | prepare_runs(sized.configs()).facts)
    again = work_of(schedule_search, replace(options, minutes=20))
    assert again.spec.to_dict() == sized.to_dict()
    assert (again.spec.base.loop.steps, again.spec.base.loop.eval_every) == (48, 8)


# ---- precision -------------------------------------------------------------------------------------------------------

RESUME, AGAIN = "--resume results/schedule_search/mine", f"--run mine {OPTIONS.format(**MOVED)}"
ELSEWHERE = "though auto would take float32 on this machine, for the test says so"


def on_a_machine_that_is_best_at(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    best = Best(precision, "the test says so")  # type: ignore[arg-type]
    monkeypatch.setattr("trainable.student.precision.best_precision", lambda device: best)


@pytest.mark.parametrize("again", [RESUME, AGAIN])
def test_a_run_goes_on_in_the_precision_it_was_begun_in_and_says_what_this_machine_would_take(
    workplace: Path, again: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_a_machine_that_is_best_at("bfloat16", monkeypatch)
    run = begin(workplace)
    assert run.record().precision_from == "the test says so"
    assert call(f"{again} --dry-run") == 0
    assert (
        "as it was begun" not in (plan := " ".join(capsys.readouterr().out.split())) and "tokens in bfloat16 " in plan
    )
    on_a_machine_that_is_best_at("float32", monkeypatch)
    assert call(f"{again} --dry-run") == 0
    plan = " ".join(capsys.readouterr().out.split())
    assert "tokens in bfloat16 " in plan
    assert plan.count(f"precision: the run goes on in bfloat16, as it was begun, {ELSEWHERE}") == 1
    assert {config.loop.precision for config in run.spec().configs()} == {"bfloat16"}


def test_a_run_keeps_the_precision_that_the_user_gave_and_names_no_other(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_a_machine_that_is_best_at("bfloat16", monkeypatch)
    begin(workplace, "--set", "loop.precision=float32")
    assert call(f"{RESUME} --dry-run") == 0
    assert "as it was begun" not in (plan := " ".join(capsys.readouterr().out.split())) and "tokens in float32 " in plan


def test_a_run_from_before_auto_existed_goes_on_in_float32(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The spec of such a run has float32, the default of its time; its command line names no precision."""
    on_a_machine_that_is_best_at("bfloat16", monkeypatch)
    run = begin(workplace, "--set", "loop.precision=float32")
    assert "precision_from" not in run.record().to_dict()
    assert call(f"{AGAIN} --dry-run") == 0
    plan = " ".join(capsys.readouterr().out.split())
    assert "precision: the run goes on in float32, as it was begun, though auto would take bfloat16 on this" in plan


def test_a_precision_other_than_that_of_the_run_is_refused(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_a_machine_that_is_best_at("bfloat16", monkeypatch)
    begin(workplace)
    assert call(f"{AGAIN} --set loop.precision=float32 --dry-run") == USAGE_ERROR
    assert "(base.loop.precision was bfloat16, now float32): give the same options" in capsys.readouterr().err
    assert call(f"{AGAIN} --set loop.precision=bfloat16 --dry-run") == 0
