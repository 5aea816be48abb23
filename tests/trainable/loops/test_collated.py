"""Input of a teacher from a collator's batch: token ids, where histories begin, and the targets."""

import numpy as np
import pytest
import torch

from trainable.errors import InputError
from trainable.loops.collated import contexts_of, question_of, targets_of

IDS = torch.tensor([[5, 6, 7, 8], [9, 5, 6, 7]])


def begins(**batch: torch.Tensor) -> list[list[int]]:
    return contexts_of({"input_ids": IDS, **batch}).begins_BxT.astype(int).tolist()


def test_a_history_begins_with_its_row_unless_the_batch_says_otherwise() -> None:
    assert begins() == [[1, 0, 0, 0], [1, 0, 0, 0]]
    assert begins(attention_mask=torch.ones(2, 4)) == begins()
    assert begins(position_ids=torch.arange(4)[None]) == begins()


def test_a_history_begins_where_position_ids_do_not_rise_by_one() -> None:
    assert begins(position_ids=torch.tensor([[0, 1, 0, 1], [3, 4, 6, 7]])) == [[1, 0, 1, 0], [1, 0, 1, 0]]


def test_a_history_begins_after_padding_and_padding_is_hidden() -> None:
    mask_BxT = torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0]])
    found = contexts_of({"input_ids": IDS, "attention_mask": mask_BxT})
    assert found.begins_BxT.astype(int).tolist() == [[1, 0, 1, 0], [1, 0, 0, 0]]
    assert found.ids_BxT.tolist() == [[0, 0, 7, 8], [9, 5, 0, 0]]
    assert found.hidden_BxT.tolist() == (mask_BxT == 0).tolist()


def test_micro_batches_of_one_shape_are_stacked() -> None:
    ids, begin = question_of([contexts_of({"input_ids": IDS})] * 3)
    assert ids.shape == (3, 2, 4)
    assert begin is None


def test_micro_batches_of_several_shapes_are_joined_end_to_end() -> None:
    ids, begin = question_of([contexts_of({"input_ids": ids}) for ids in (IDS, IDS[:1, :3])])
    assert ids.tolist() == [5, 6, 7, 8, 9, 5, 6, 7, 5, 6, 7]
    assert begin is not None
    assert np.flatnonzero(begin).tolist() == [0, 4, 8]


def test_the_target_of_a_position_is_the_next_label() -> None:
    assert targets_of({"labels": IDS}).tolist() == [[6, 7, 8, -100], [5, 6, 7, -100]]
    assert targets_of({"labels": IDS, "shift_labels": IDS}).tolist() == IDS.tolist()
    with pytest.raises(InputError, match="a batch has no labels"):
        targets_of({"input_ids": IDS})
