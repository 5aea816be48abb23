"""How a benchmark is measured and kept: A and B in turn, a table, and results/benchmarks/<name>.json.

Machines are noisy, so no number here comes from one measurement: A and B alternate in one run, each pair gives a ratio,
and the median ratio is kept with the lowest and the highest.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from sweeps.engine.provenance import provenance
from trainable.record.files import read_foreign_json, write_json

RESULTS = Path(__file__).resolve().parents[2] / "results" / "benchmarks"
REPEATS = 7


@dataclass(frozen=True, kw_only=True)
class Row:
    """One case: two medians, and the ratio of neighbouring measurements with its spread."""

    case: str
    ours: float
    against: float
    unit: str
    ratio: float  # ours / against, median over pairs
    ratio_low: float
    ratio_high: float
    target: str  # "<= 1.05", ">= 5", or "" where the case only informs
    reached: bool | None  # None without a target


def alternate(
    a: Callable[[], float], b: Callable[[], float], repeats: int = REPEATS
) -> tuple[list[float], list[float]]:
    """Measure A, B, A, B, ...; each call returns its own measurement."""
    pairs = [(a(), b()) for _ in range(repeats)]
    return [first for first, _ in pairs], [second for _, second in pairs]


def compare(
    case: str,
    ours: list[float],
    against: list[float],
    unit: str,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Row:
    """A row of measurements that were taken in turn, and whether the median ratio reaches its target."""
    ratios = [a / b for a, b in zip(ours, against, strict=True)]
    ratio = median(ratios)
    target, reached = "", None
    if at_most is not None:
        target, reached = f"<= {at_most:g}", ratio <= at_most
    elif at_least is not None:
        target, reached = f">= {at_least:g}", ratio >= at_least
    return Row(
        case=case,
        ours=median(ours),
        against=median(against),
        unit=unit,
        ratio=ratio,
        ratio_low=min(ratios),
        ratio_high=max(ratios),
        target=target,
        reached=reached,
    )


def keep(name: str, rows: list[Row], *, part: bool = False) -> None:
    """Print the rows; write them, with machine, versions, commit and command, to results/benchmarks/<name>.json.

    part: only some cases were measured. The other cases stay in the file, and each new row says where it is from.
    """
    table = Table("case", "ours", "against", "unit", "ratio", "lowest to highest", "target")
    for row in rows:
        spread = f"{row.ratio_low:.3g} to {row.ratio_high:.3g}"
        verdict = {True: "reached", False: "missed", None: ""}[row.reached]
        target = f"{row.target} {verdict}".strip()
        table.add_row(row.case, f"{row.ours:.4g}", f"{row.against:.4g}", row.unit, f"{row.ratio:.3g}", spread, target)
    Console(width=160).print(table)
    path = RESULTS / f"{name}.json"
    if part and path.exists():
        write_json(path, with_part(read_foreign_json(path), [asdict(row) | {"measured": provenance()} for row in rows]))
    else:
        write_json(path, {**provenance(), "rows": [asdict(row) for row in rows]})
    print(f"written to {path}; python tests/benchmarks/tables.py puts it into the README beside it")


def with_part(kept: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The kept file with new rows: a row of the same case is replaced in its place, other rows are appended."""
    new = {row["case"]: row for row in rows}
    merged = [new.pop(row["case"], row) for row in kept["rows"]]
    return kept | {"rows": [*merged, *new.values()]}
