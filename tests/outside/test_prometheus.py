"""A real Prometheus (Debian's package) scrapes a real sweep, and Ray's dashboard names the trials of the sweep."""

import json
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

import pytest
from live_sweep import SMALL_STUDY, LiveSweep, command_line

from trainable import names
from trainable.gauges import GAUGES
from trainable.record.ledger import read_reports

PROMETHEUS = shutil.which("prometheus")
CONTROL, ARM = "none-L1-s0", "linear-0-L1-s0"  # the trials that run first and second
LONG_TRIALS = ("--seeds", "0", "--arms", "1", "--cpus", "1", "--set", "loop.steps=1200")
pytestmark = [
    pytest.mark.skipif(PROMETHEUS is None, reason="needs Prometheus (apt-get install prometheus)"),
]


class Prometheus:
    """A Prometheus server with the configuration that Ray writes, but with a scrape each second."""

    def __init__(self, config: Path, folder: Path):
        folder.mkdir()
        quick = folder / "prometheus.yml"
        quick.write_text(config.read_text().replace("scrape_interval: 10s", "scrape_interval: 1s"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{free.getsockname()[1]}"
        options = [f"--config.file={quick}", f"--storage.tsdb.path={folder}", f"--web.listen-address={self._address}"]
        with open(folder / "output.txt", "w") as output:
            self._process = subprocess.Popen([str(PROMETHEUS), *options], stdout=output, stderr=output)

    def __enter__(self) -> "Prometheus":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def series(self, query: str) -> list[dict[str, Any]]:
        """Series that the server returns for a query; none while the server does not answer."""
        try:
            return list(fetch(f"http://{self._address}/api/v1/query?query={quote(query)}")["data"]["result"])
        except (URLError, TimeoutError):
            return []

    def values(self, gauge: str, trial: str) -> list[float]:
        """All values of a trial's gauge that the server has scraped so far."""
        found = self.series(f'ray_{gauge}{{trial="{trial}"}}[1h]')
        return [float(value) for one in found for _, value in one["values"]]


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """A new folder for Ray, so that `session_latest` is this sweep's; its path is short, because it holds sockets."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_each_running_trial_is_seen_by_its_name_with_the_numbers_of_its_ledger(
    tmp_path: Path, ray_folder: Path
) -> None:
    environment = {"RAY_TMPDIR": str(ray_folder), "RAY_metrics_report_interval_ms": "2000"}
    config = ray_folder / "ray" / "session_latest" / "metrics" / "prometheus" / "prometheus.yml"
    with LiveSweep(SMALL_STUDY, tmp_path, *LONG_TRIALS, environment=environment, dashboard=True) as sweep:
        sweep.wait_for(config.exists, "Ray had written a configuration for Prometheus")
        with Prometheus(config, tmp_path / "prometheus") as prometheus:
            control = sweep.wait_for_worker(CONTROL)

            def two_values(gauge: str, trial: str) -> bool:
                return len(set(prometheus.values(gauge, trial))) >= 2

            sweep.wait_slowly(control, lambda: two_values(names.EVAL_LOSS, CONTROL), "the control was seen twice")
            assert actors(sweep) == {("GuidedTrial", f"{CONTROL} and later")}
            arm = sweep.wait_for_worker(ARM)
            assert f"ray::{ARM}" in titles(sweep)
            sweep.wait_slowly(arm, lambda: two_values(names.GAIN, ARM), "two reports of the arm were seen")
            for gauge in GAUGES:
                for trial in (CONTROL, ARM):
                    seen = set(prometheus.values(gauge, trial))
                    assert seen and seen <= written(sweep.run, trial, gauge), (gauge, trial)
            tags = {"study": "small_study", "run": sweep.run.name, "role": "arm", "layers": "1"}
            found = prometheus.series(f'ray_gain{{trial="{ARM}"}}[1h]')
            assert found and all(tags.items() <= one["metric"].items() for one in found)
            sweep.wait_slowly(
                arm, lambda: not prometheus.series(f'ray_step{{trial="{CONTROL}"}}'), "the control had left"
            )
            assert prometheus.series('ray_step{role="arm"}'), "Prometheus must still see the trial that runs"


def written(run: Path, trial: str, column: str) -> set[float]:
    """All values of a column in a trial's ledger."""
    return {row[column] for row in read_reports(run / names.TRIALS_FOLDER / trial / names.LEDGER_FILE)}


def fetch(url: str) -> Any:
    """Fetch JSON from this machine, without the proxies that the environment names."""
    with build_opener(ProxyHandler({})).open(url, timeout=30) as answer:
        return json.load(answer)


def actors(sweep: LiveSweep) -> set[tuple[str, str]]:
    """(class, name) of each actor, as Ray's dashboard shows them."""
    dashboard = sweep.printed.split("Ray dashboard: ")[1].split()[0]
    found = fetch(f"{dashboard}/logical/actors")["data"]["actors"].values()
    return {(actor["actorClass"], actor["reprName"]) for actor in found}


def titles(sweep: LiveSweep) -> set[str]:
    """Command lines of the sweep's processes, which processes can set themselves."""
    return {command_line(pid) for pid in sweep.processes()}
