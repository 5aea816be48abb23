"""A store of results that does not answer is told in one sentence, after it was asked several times."""

import pytest

from sweeps.engine.cli import USAGE_ERROR, main
from sweeps.schedule_search import SearchOptions, schedule_search


@pytest.mark.parametrize("option", ["--results", "--resume"])
def test_a_store_that_does_not_answer_is_reported_in_one_sentence(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"ENDPOINT_URL": "http://127.0.0.1:1", "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    settings = ["--smoke-test"] if option == "--results" else []  # a resumed run uses its own settings
    assert main(schedule_search, SearchOptions, "The study.", [*settings, option, "s3://bucket/results"]) == USAGE_ERROR
    told = capsys.readouterr().err
    assert told.startswith("error: s3://bucket/results") and told.count("\n") == 1
    assert told.endswith(": check its name, the network, and your credentials.\n")
