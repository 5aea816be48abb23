"""Fixtures that several test modules share."""

from pathlib import Path

import pytest
from hypothesis import settings
from live_sweep import SMALL_STUDY, finish

settings.register_profile("any machine", deadline=None)  # tests never assert on wall-clock time
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development data beside the checkout; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the development data in {folder}")
    return folder


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of tests/support/small_study.py after a run to which nothing happened."""
    sweep = finish(SMALL_STUDY, tmp_path_factory.mktemp("undisturbed"))
    assert sweep.driver.returncode == 0, sweep.printed
    return sweep.run
