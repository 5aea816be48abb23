"""Check of a cluster's nodes: each must see the run folder and have the package."""

from pathlib import Path

import pytest

from sweeps.engine.cluster.nodes import UNSEEN, _look, judge
from trainable.errors import InputError

RUN = "/shared/results/study/run"


def test_nodes_that_lack_nothing_are_accepted() -> None:
    fine = {"10.0.0.1": "", "10.0.0.2": ""}
    judge(fine, RUN)
    with pytest.raises(InputError):
        judge({**fine, "10.0.0.3": UNSEEN}, RUN)


def test_nodes_that_do_not_see_the_run_folder_are_named_with_what_to_do() -> None:
    with pytest.raises(InputError) as told:
        judge({"10.0.0.1": "", "10.0.0.2": UNSEEN, "10.0.0.3": UNSEEN}, RUN)
    assert str(told.value) == (
        f"run folder {RUN} cannot be seen from nodes 10.0.0.2, 10.0.0.3: give --results a folder on a file system that "
        "all nodes share, or a URI that all of them may read."
    )


def test_a_node_without_the_package_is_named() -> None:
    with pytest.raises(InputError, match=r"^node 10.0.0.2 cannot run trials \(No module named 'trainable'\): install"):
        judge({"10.0.0.1": "", "10.0.0.2": "No module named 'trainable'"}, RUN)


def test_a_node_sees_the_run_folder_only_if_the_mark_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.engine.cluster.nodes.PATIENCE", 0.0)
    look = _look()
    assert look(str(tmp_path), "mark") == UNSEEN
    (tmp_path / "mark").touch()
    assert look(str(tmp_path), "mark") == ""
