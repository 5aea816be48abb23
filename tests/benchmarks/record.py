"""How a benchmark is kept: a table on the terminal, and results/benchmarks/<name>.json beside machine and commit."""

from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from sweeps.engine.facts import provenance
from trainable.files import write_json

RESULTS = Path(__file__).resolve().parents[2] / "results" / "benchmarks"


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
    target: str
    reached: bool


def compare(case: str, ours: list[float], against: list[float], unit: str, at_most: float) -> Row:
    """A row of measurements taken in turn, a pair at a time; the ratio should be at most `at_most`."""
    ratios = [a / b for a, b in zip(ours, against, strict=True)]
    return Row(
        case=case,
        ours=median(ours),
        against=median(against),
        unit=unit,
        ratio=median(ratios),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
        target=f"<= {at_most}",
        reached=median(ratios) <= at_most,
    )


def keep(name: str, rows: list[Row]) -> None:
    """Print the rows and write them to results/benchmarks/<name>.json."""
    table = Table("case", "ours", "against", "unit", "ratio", "lowest to highest", "target")
    for row in rows:
        spread = f"{row.ratio_low:.3f} to {row.ratio_high:.3f}"
        target = f"{row.target} {'reached' if row.reached else 'missed'}"
        table.add_row(row.case, f"{row.ours:.1f}", f"{row.against:.1f}", row.unit, f"{row.ratio:.3f}", spread, target)
    Console().print(table)
    path = RESULTS / f"{name}.json"
    write_json(path, {**provenance(), "rows": [asdict(row) for row in rows]})
    print(f"written to {path}")
