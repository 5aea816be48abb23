"""Workers search the folders of the driver's import path, but not the working directory that Ray would add."""

import sys
from pathlib import Path

import pytest
from ray.core.generated.common_pb2 import JobConfig

from sweeps.engine.cluster.worker_path import OwnPath, paths_to_insert


def test_a_worker_that_inserts_the_folders_one_by_one_has_the_drivers_order() -> None:
    worker = ["/ray/workers", "/python/lib"]
    for folder in paths_to_insert(["/study", "/project", "/python/lib", "/project"]):
        worker.insert(0, folder)
    assert list(dict.fromkeys(worker)) == ["/study", "/project", "/python/lib", "/ray/workers"]


def test_entries_that_are_relative_to_the_working_directory_are_not_sent() -> None:
    assert paths_to_insert(["", ".", "lib", "/project"]) == ["/project"]


def test_the_working_directory_that_ray_has_added_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/project"])
    job = OwnPath()
    job._py_driver_sys_path.extend([str(tmp_path)])  # as `ray.init` does
    sent = JobConfig.FromString(job._serialize())
    assert list(sent.py_driver_sys_path) == ["/project"]


def test_the_import_path_of_a_submitted_job_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/project"])
    job = OwnPath(runtime_env={"working_dir": "gcs://copy.zip"})
    assert list(JobConfig.FromString(job._serialize()).py_driver_sys_path) == []
