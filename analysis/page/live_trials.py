"""Trials of a run that is under way; of each ledger only the new rows are read."""

from pathlib import Path
from typing import Any

from trainable import names
from trainable.record.ledger import LedgerTail, Row
from trainable.record.run_record import RunRecord
from trainable.record.trial_files import Status, diverged, diverged_at, read_facts, read_status

REPORTING = "reporting"  # value of corpus.eval_half: the confirmations of a search in groups
SEARCH_PART, FRESH_PART = "search", "fresh seeds"  # parts of a search; a comparison has one part, ""


class LiveTrial:
    """One trial: its settings, its status and its reports so far."""

    def __init__(self, folder: Path, record: RunRecord):
        """Raises InputError where trial.json is damaged or belongs to another trial."""
        facts = read_facts(folder)
        self.name, self.role, self.control = str(facts["name"]), str(facts["role"]), str(facts["control"])
        self.settings = names.dotted(facts["config"])
        self.arm = str(
            facts.get("arm") or ("control" if self.role == names.CONTROL else self.settings["teacher.schedule"])
        )
        self.layers, self.steps = int(self.settings["model.layers"]), int(self.settings["loop.steps"])
        self.part = part_of(record, self.role, self.settings)
        self.reports: list[Row] = []  # by step; for a repeated step, the row that was written last
        self.status = Status(names.RUNNING, "", None)
        self._folder = folder
        self._ledger = LedgerTail(folder / names.LEDGER_FILE)
        self._status_stamp: tuple[int, int] | None = None

    def refresh(self) -> bool:
        """Read what is new and return whether anything was. Raises InputError for a damaged file."""
        has_reports, has_status = self._ledger.refresh(), self._refresh_status()
        if has_reports:
            by_step = {row[names.STEP]: row for row in self._ledger.rows}
            self.reports = [by_step[step] for step in sorted(by_step)]
        if (has_reports or has_status) and (step := diverged_at(self.reports)) is not None:
            self.status = self.status._replace(state=names.FAILED, reason=self.status.reason or diverged(step))
        return has_reports or has_status

    def _refresh_status(self) -> bool:
        """Read status.json if it changed, and return whether it did."""
        try:
            found = (self._folder / names.STATUS_FILE).stat()
            stamp = (found.st_mtime_ns, found.st_ino)
        except FileNotFoundError:
            stamp = None
        if stamp == self._status_stamp:
            return False
        self.status, self._status_stamp = read_status(self._folder), stamp
        return True

    @property
    def step(self) -> int:
        """Optimizer steps done at the last report."""
        return int(self.reports[-1][names.STEP]) if self.reports else 0

    @property
    def is_running(self) -> bool:
        """Whether the trial has not ended."""
        return self.status.state == names.RUNNING

    def row(self) -> dict[str, Any]:
        """The trial as plain values for the page; None for values that it has not reported."""
        last = self.reports[-1] if self.reports else {}
        is_control = self.role == names.CONTROL
        return {
            "name": self.name,
            "arm": self.arm,
            "part": self.part,
            "layers": self.layers,
            "state": self.status.state,
            "reason": self.status.reason,
            "step": self.step,
            "steps": self.steps,
            "loss": last.get(names.EVAL_LOSS),
            "gain": None if is_control else last.get(names.GAIN),
            "teacher_weight": last.get(names.TEACHER_WEIGHT),
            "tokens_per_second": last.get(names.TOKENS_PER_SECOND),
            "reported": last.get(names.TIMESTAMP),
        }


def busy_seconds(report: Row) -> float:
    """Seconds of training and evaluation up to a report."""
    return float(report[names.TRAIN_SECONDS] + report[names.EVAL_SECONDS])


def part_of(record: RunRecord, role: str, settings: dict[str, Any]) -> str:
    """Part of the run of a trial; trials of different parts differ in length or validation rows."""
    if record.is_comparison:
        return ""
    if record.is_grouped:
        return FRESH_PART if settings.get("corpus.eval_half") == REPORTING else SEARCH_PART
    return FRESH_PART if role == names.CONFIRM or settings["seed"] in record.confirm_seeds else SEARCH_PART
