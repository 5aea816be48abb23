"""A teacher of one's own, a class outside of the project: named by its import path, it trains a student."""

from pathlib import Path
from typing import Any

import pytest
from small_corpus import small_config

from trainable import names
from trainable.config import TeacherConfig
from trainable.errors import InputError
from trainable.prepare import prepare_run
from trainable.student.train import train

OWN = '''
import numpy as np
import torch

from trainable.teacher.host_rows import HostRows
from trainable.teacher.kinds.uniform import UniformTeacher
from trainable.teacher.teacher import StepRows


class Repeat(UniformTeacher):
    """Half a chance that the token comes once more, half for all tokens alike."""

    def rows(self, context, blocks, dtype):
        assert blocks.shape == context.shape[:-1]
        ids_R, row = np.unique(context, return_inverse=True)
        half_R = np.full(len(ids_R), 0.5, np.float32)
        sparse = HostRows(np.arange(len(ids_R) + 1), ids_R.astype(np.int32), half_R, len(self.base_V), dtype)
        return StepRows(
            sparse=sparse, row=torch.tensor(row.reshape(context.shape)), backoff_R=torch.tensor(half_R).to(dtype)
        )
'''


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_teachers.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "my_teachers:Repeat"


def test_a_class_named_by_its_import_path_teaches(tmp_path: Path, own_module: str) -> None:
    changes = {"teacher.kind": own_module, "teacher.schedule": "linear", "teacher.steps": 12}
    config = small_config(tmp_path, changes)
    data, facts = prepare_run(config, tmp_path / "cache")
    reports: list[dict[str, Any]] = []
    train(config, data, reports.append)
    assert facts["teacher"]["smoothing"] == "uniform"
    assert reports[-1][names.EVAL_LOSS] < reports[0][names.EVAL_LOSS]
    uniform = small_config(tmp_path, changes | {"teacher.kind": "uniform"})
    others: list[dict[str, Any]] = []
    train(uniform, data, others.append)
    assert reports[1][names.TRAIN_LOSS] != others[1][names.TRAIN_LOSS], "it taught what a uniform teacher does"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("my_absent_module:Repeat", "No module named 'my_absent_module'"), ("my_teachers:Nobody", "has no attribute")],
)
@pytest.mark.usefixtures("own_module")
def test_a_class_that_cannot_be_imported_is_refused_before_anything_is_read(kind: str, reason: str) -> None:
    with pytest.raises(InputError, match=f"teacher.kind is {kind}, which cannot be imported .*{reason}"):
        TeacherConfig(kind=kind, schedule="linear", steps=1).has_table  # noqa: B018
