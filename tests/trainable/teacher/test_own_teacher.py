"""A teacher of your own: a class outside the project, named by its import path, teaches a student."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_corpus import small_config

from trainable import names
from trainable.config import TeacherConfig, TrialConfig
from trainable.errors import InputError
from trainable.prepare import prepare_run
from trainable.student.run_data import RunData
from trainable.student.train import train

OWN = '''
import numpy as np
import torch

from trainable.teacher.host_rows import HostRows
from trainable.teacher.kinds.uniform import UniformTeacher
from trainable.teacher.teacher import Guidance, RowTeacher, StepRows, Teacher


class Repeat(UniformTeacher):
    """Half of the probability for a repetition of the token, half shared equally by all tokens."""

    def rows(self, context, blocks, dtype):
        assert blocks.shape == context.shape[:-1]
        ids_R, row = np.unique(context, return_inverse=True)
        half_R = np.full(len(ids_R), 0.5, np.float32)
        sparse = HostRows(np.arange(len(ids_R) + 1), ids_R.astype(np.int32), half_R, len(self.base_V), dtype)
        return StepRows(
            sparse=sparse, row=torch.tensor(row.reshape(context.shape)), backoff_R=torch.tensor(half_R).to(dtype)
        )


class Alone(RowTeacher):
    """The rows of Repeat, in a class derived from RowTeacher alone; its table is made anew for each run."""

    prepared = 0

    @classmethod
    def prepare(cls, material):
        cls.prepared += 1
        return UniformTeacher.prepare(material)

    def __init__(self, table, device="cpu", *, product=None):
        super().__init__(table, device, product=product)
        self.base_V = torch.tensor(table.base_V)

    rows = Repeat.rows


class Half(Teacher):
    """A ramp with half the weight."""

    def guide(self, output_VxD, context, weight, bias_V=None, *, blocks=None):
        return Guidance(weight=weight / 2)


class NoRows(RowTeacher):
    prepare = UniformTeacher.prepare


def nothing():
    pass
'''


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "my_teachers.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_teachers"
    sys.modules.pop("my_teachers", None)


def settings(kind: str) -> dict[str, Any]:
    return {"teacher.kind": kind, "teacher.schedule": "linear", "teacher.steps": 12}


def reports_of(config: TrialConfig, data: RunData) -> list[dict[str, Any]]:
    reports: list[dict[str, Any]] = []
    train(config, data, reports.append)
    return reports


def losses(reports: list[dict[str, Any]]) -> list[float]:
    return [report[names.TRAIN_LOSS] for report in reports[1:]]


def test_a_class_named_by_its_import_path_teaches(tmp_path: Path, own_module: str) -> None:
    config = small_config(tmp_path, settings(f"{own_module}:Repeat"))
    data, facts = prepare_run(config, tmp_path / "cache")
    reports = reports_of(config, data)
    assert facts["teacher"]["smoothing"] == "uniform"
    assert reports[-1][names.EVAL_LOSS] < reports[0][names.EVAL_LOSS]
    uniform = reports_of(small_config(tmp_path, settings("uniform")), data)
    assert losses(reports)[0] != losses(uniform)[0], "Repeat teaches the same as a uniform teacher"


def test_a_class_derived_from_row_teacher_alone_teaches_the_same_and_its_table_is_made_for_each_run(
    tmp_path: Path, own_module: str
) -> None:
    """A class with only the three methods that RowTeacher asks for is a whole teacher."""
    config = small_config(tmp_path, settings(f"{own_module}:Alone"))
    for runs in (1, 2):
        data, _ = prepare_run(config, tmp_path / "cache")
        assert sys.modules[own_module].Alone.prepared == runs
    assert not (tmp_path / "cache" / "tables").exists()
    repeat = reports_of(small_config(tmp_path, settings(f"{own_module}:Repeat")), data)
    assert losses(reports_of(config, data)) == losses(repeat)


def test_a_class_with_guide_alone_teaches_without_a_table(tmp_path: Path, own_module: str) -> None:
    config = small_config(tmp_path, settings(f"{own_module}:Half"))
    data, facts = prepare_run(config, tmp_path / "cache")
    assert data.table is None and facts["teacher"]["smoothing"] == f"{own_module}:Half"
    half, ramp = (reports_of(one, data) for one in (config, small_config(tmp_path, settings("ramp"))))
    assert losses(half)[0] > losses(ramp)[0], "half the weight does not leave more of the plain loss"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("my_absent_module:Repeat", "which cannot be imported .*No module named 'my_absent_module'"),
        ("my_teachers:Nobody", "which cannot be imported .*has no attribute"),
        ("my_teachers:nothing", "which is no teacher class: derive the class from trainable.RowTeacher"),
        ("my_teachers:StepRows", "which is no teacher class"),
        ("my_teachers:NoRows", "whose class has no method rows: add what is missing"),
        ("my_teachers:Teacher", "whose class has no method guide"),
    ],
)
@pytest.mark.usefixtures("own_module")
def test_an_incomplete_teacher_class_is_refused_before_anything_is_read(kind: str, reason: str) -> None:
    with pytest.raises(InputError, match=f"teacher.kind is {kind}, {reason}"):
        TeacherConfig(kind=kind, schedule="linear", steps=1).has_table  # noqa: B018
