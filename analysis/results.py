"""A run folder as two tables: one row for each trial, and one row for each report.

The ledgers under `trials/` are the truth, and `load` builds the tables from them. The parquet files are copies for
other tools; they are read only where a folder has no ledgers. Columns: results/README.md.

    >>> from analysis.results import load
    >>> results = load("results/schedule_search/my_run")  # or load("s3://bucket/results/schedule_search/my_run")
    >>> trials, curves = results
    >>> results.best()  # the best setting of each group
    >>> results.plot("curves")  # a plot of the page, as a matplotlib figure

`python -m analysis.summary results/schedule_search/my_run` writes trials.parquet and curves.parquet again.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.columns import (
    CONTROL_NAME,
    CURVE_GROUPS,
    CURVES_CSV,
    DERIVED,
    LAST_REPORT,
    REASON,
    SECONDS_PER_STEP,
    STATE,
    TRIAL,
    TRIALS_CSV,
    WHO,
)
from analysis.kept_tables import read_kept
from analysis.table_file import write_table
from analysis.tables.pairing import AGAINST_CONTROL, time_to_control
from trainable import names
from trainable.errors import InputError
from trainable.record.run_files import run_files
from trainable.record.run_record import RunRecord, read_record
from trainable.record.trial_files import diverged, diverged_at, read_facts, read_trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Results:
    """The two tables of a run, also as a pair: `trials, curves = results`. Losses and gains in nats per token.

    A notebook shows the first rows of each. Columns and units: results/README.md.
    """

    trials: pd.DataFrame  # one row a trial
    curves: pd.DataFrame  # one row a report
    run: Path | None = None  # folder that the tables were read from; None for tables from elsewhere
    called: str = ""  # name of that folder in texts for users: a path or a URI

    def __iter__(self) -> Iterator[pd.DataFrame]:
        yield self.trials
        yield self.curves

    def best(self) -> pd.DataFrame:
        """The best setting of each group, arm or depth, as on the run's page: one row for each.

        Search in groups: the finished trial with the lowest loss of each arm at each depth. Older search: the schedule
        with the largest gain at each depth, and its gain on fresh seeds. Comparison: each arm over its seeds or folds,
        at the best value of the tuned setting. The numbers that chose a setting flatter it; the report's verdict uses
        fresh seeds alone.
        Raises InputError where the tables were not read from a run folder.
        """
        table: pd.DataFrame = _notebook().best(self._findings())
        return table

    def plot(self, name: str | None = None) -> "Figure":
        """One plot of the run's page as a matplotlib figure, which a notebook shows; `.savefig(path)` writes it.

        name: name of one of the run's pictures, such as "curves" or "curves_tail" (the last 40 % of the steps); None:
        the plot that opens the page. Raises InputError for an unknown name, with a list of the names, and where the
        tables were not read from a run folder.
        """
        figure: Figure = _notebook().figure(self._findings(), name)
        return figure

    def __repr__(self) -> str:
        return str(_notebook().as_text(self))

    def _repr_html_(self) -> str:
        return str(_notebook().as_html(self))

    def _findings(self) -> "Findings":
        if self.run is None:
            raise InputError("these tables were not read from a run folder: use what load(run) returns.")
        return Findings(self.run, self.called, read_record(self.run), self)


def _notebook() -> Any:
    """The module that shows results, imported on demand: it imports this module and matplotlib."""
    return import_module("analysis.notebook")


@dataclass(frozen=True, eq=False)
class Findings:
    """Input of a report: the record in run.json, and the tables of the run."""

    folder: Path
    called: str  # name of the folder in texts for users: a path or a URI
    record: RunRecord
    results: Results

    @property
    def settings(self) -> dict[str, Any]:
        """Default settings of the run's trials, by dotted key."""
        return names.dotted(self.record.base)


@dataclass(frozen=True)
class _Trial:
    """Content of the folder of one trial."""

    who: dict[str, str]
    settings: dict[str, Any]
    reports: pd.DataFrame
    diverged_at: int | None


def load(run: str | Path) -> Results:
    """Read the tables of a run from its ledgers: `trials, curves = load(run)`. Columns: results/README.md.

    run: the folder, or a URI such as s3://bucket/results/<study>/<run>. A run that has not ended can be read too;
    before the first report the tables are empty. In a folder without `trials/`, the parquet files are read, or
    trials.csv and curves.csv. Raises InputError for a folder that is not a run and for a damaged file (its name is in
    the message); StoreError where a store does not answer.
    """
    files = run_files(run)
    files.fetch_records()
    return replace(_tables(files.path), run=files.path, called=files.address)


def _tables(run: Path) -> Results:
    """The tables of a run folder: from its ledgers, or without these from the kept tables."""
    if (run / names.TRIALS_FOLDER).is_dir():
        return build(run)
    for trials, curves in ((names.TRIALS_TABLE, names.CURVES_TABLE), (TRIALS_CSV, CURVES_CSV)):
        if (run / trials).is_file() and (run / curves).is_file():
            return without_diverged(Results(*read_kept(run / trials, run / curves)))
    return build(run)


def load_with(run: Path, trials: Sequence[str], curves: Sequence[str]) -> Results:
    """Read the tables of a run folder with `load`. Also raises InputError where one of the named columns is missing."""
    results = load(run)
    lacking = [name for name in trials if name not in results.trials]
    lacking += [name for name in curves if name not in results.curves]
    if lacking:
        raise InputError(f"the tables in {run} lack {', '.join(lacking)}: see results/README.md for their columns.")
    return results


def build(run: Path) -> Results:
    """The tables of a run folder from its ledgers alone. Raises InputError as `load` does."""
    settings = names.dotted(read_record(run).base)
    found = sorted((run / names.TRIALS_FOLDER).glob(f"*/{names.TRIAL_FILE}"))
    read = [_read_trial(path.parent) for path in found]
    trials = _trials_table(read, settings)
    known = {trial.who[TRIAL]: trial.diverged_at for trial in read if trial.diverged_at is not None}
    return without_diverged(Results(trials, _curves_table(read, trials)), known)


def without_diverged(results: Results, known: Mapping[str, int] | None = None) -> Results:
    """The tables with each diverged trial set to failed, and its losses and gains from that step on set to NaN.

    known: {trial: step} from the trials' status files, because a loss between two reports is in no report.
    In tables kept as text an empty field may be a step without an evaluation, so only infinite losses count there.
    """
    trials, curves = (table.copy() for table in results)
    is_ledger = names.EVAL_LOSS_SE in curves  # each row is a report
    for trial, reports in curves.groupby(TRIAL):
        rows = reports.reindex(columns=[names.STEP, names.EVAL_LOSS, names.TRAIN_LOSS, names.GAIN]).to_dict("records")
        step = (known or {}).get(str(trial))
        if step is None:
            step = diverged_at(rows if is_ledger else ({k: v for k, v in row.items() if v == v} for row in rows))
        if step is None:
            continue
        row, after = trials[TRIAL] == trial, (curves[TRIAL] == trial) & (curves[names.STEP] >= step)
        if (trials.loc[row, STATE] != names.FAILED).all():
            trials.loc[row, [STATE, REASON]] = [names.FAILED, diverged(step)]
            curves.loc[curves[TRIAL] == trial, STATE] = names.FAILED
        lost = [names.EVAL_LOSS, names.EVAL_LOSS_SE, names.GAIN, names.TRAIN_LOSS, *AGAINST_CONTROL]
        trials.loc[row, [name for name in lost if name in trials]] = math.nan
        curves.loc[after, [name for name in lost if name in curves]] = math.nan
    return Results(trials, curves)


def write(run: Path, results: Results | None = None) -> Results:
    """Write trials.parquet and curves.parquet of a run folder (each atomically) and return the tables.

    results: the tables, if the ledgers have been read already.
    """
    results = results or build(run)
    for name, table in ((names.TRIALS_TABLE, results.trials), (names.CURVES_TABLE, results.curves)):
        write_table(run / name, table)
    return results


def read_findings(run: Path, called: str = "") -> Findings:
    """Read the input of a report. called: name of the folder for users, if not its path.

    Raises InputError if the folder is not a run, or a file that is read is damaged.
    """
    return Findings(run, called or str(run), read_record(run), load(run))


def _read_trial(folder: Path) -> _Trial:
    facts, (status, rows) = read_facts(folder), read_trial(folder)
    who = [facts["name"], facts["role"], facts.get("arm", ""), facts["control"], status.state, status.reason]
    reports = pd.DataFrame(rows, columns=list(names.REPORT_COLUMNS)).astype("float64").astype({names.STEP: "int64"})
    return _Trial(dict(zip(WHO, who, strict=True)), names.dotted(facts["config"]), reports, status.diverged_at)


def _trials_table(read: list[_Trial], settings: dict[str, Any]) -> pd.DataFrame:
    # The settings of the run go first as a row and come out again, so that an empty table has all columns and types.
    frame = pd.DataFrame([settings, *(trial.settings for trial in read)]).iloc[1:].reset_index(drop=True)
    who = pd.DataFrame([trial.who for trial in read], columns=WHO, dtype="str")
    ends = [trial.reports[LAST_REPORT].iloc[-1].to_dict() if len(trial.reports) else {} for trial in read]
    last = pd.DataFrame(ends, columns=LAST_REPORT, dtype="float64")
    last[names.STEP] = last[names.STEP].fillna(0).astype("int64")
    return pd.concat([who, frame, last, _derived(read, last)], axis=1)


def _derived(read: list[_Trial], last: pd.DataFrame) -> pd.DataFrame:
    ended = [trial for trial in read if trial.who[STATE] == names.FINISHED and not trial.reports.empty]
    finals = {trial.who[TRIAL]: trial.reports.iloc[-1] for trial in ended}
    controls = [finals.get(trial.who[CONTROL_NAME]) for trial in read]
    pairs = zip(read, controls, strict=True)
    rows = [{} if final is None else time_to_control(trial.reports, final) for trial, final in pairs]
    frame = pd.DataFrame(rows, columns=DERIVED, dtype="float64")
    frame[names.TOKENS_PER_SECOND] = last[names.TOKENS] / last[names.TRAIN_SECONDS].where(last[names.TRAIN_SECONDS] > 0)
    frame[SECONDS_PER_STEP] = last[names.TRAIN_SECONDS] / last[names.STEP].where(last[names.STEP] > 0)
    frame[names.PEAK_MEMORY_MIB] = [trial.reports[names.PEAK_MEMORY_MIB].max() for trial in read]
    return frame


def _curves_table(read: list[_Trial], trials: pd.DataFrame) -> pd.DataFrame:
    labelled = [trial.reports.assign(**{TRIAL: trial.who[TRIAL]}) for trial in read]
    kinds = {TRIAL: "str", **dict.fromkeys(names.REPORT_COLUMNS, "float64"), names.STEP: "int64"}
    empty = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
    reports = pd.concat([frame for frame in labelled if not frame.empty] or [empty], ignore_index=True)
    table = reports.merge(trials[CURVE_GROUPS], on=TRIAL, how="left")
    return table[[*CURVE_GROUPS, *names.REPORT_COLUMNS]]
