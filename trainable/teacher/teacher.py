"""Guidance that a teacher gives in one optimizer step, and the base classes of all teachers.

The guided loss does not need the distribution p over the vocabulary, only the expectation of the output matrix W under
p: E = sum_k p(k) W[k] (student/guided_loss.py). So a teacher gives *rows*, and the number of the row that each position
takes. The rows of all teachers have one form, a sparse part plus a share of a parent row,

    p_r = S_r + lambda_r p_parent(r),    so    E_r = S_r W + lambda_r E_parent(r),

where the last parent is the vector q that all rows share, E_q = q W. A bigram table has one level of rows, an n-gram
table one level for each length of history, and a trained model's answers one row for each position. If the output layer
has a bias b, its expectation is B = P b: b is treated as one more column of W.

W does not change within an optimizer step, so E is computed once a step, outside autograd. Every micro-batch adds to
E.grad. The last backward pass of the step applies the chain rule through E, from children to parents and then to W:
W.grad += S^T E.grad. This happens inside autograd, before any hook of W sees its gradient, so DistributedDataParallel,
gradient scalers and clipping work unchanged.

    A micro-batches of a step   B blocks   T positions of a block   R distinct rows of a step
    V vocabulary   D width   Z non-zeros of S
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from trainable.teacher.material import Material

_log = logging.getLogger(__name__)


class SparseRows(Protocol):
    """Sparse part S [R, V] of a step's rows, and its two products (CPU: host_rows.py, GPU: device_rows.py)."""

    def times(self, output_VxD: Tensor) -> Tensor:
        """Return S W, [R, D]."""

    def add_transposed(self, grad_VxD: Tensor, grad_RxD: Tensor) -> None:
        """Compute grad_VxD += S^T grad_RxD, in place."""


class Table(Protocol):
    """Knowledge of a teacher: a dataclass of arrays, which trials share."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens in the vocabulary."""

    @property
    def checksum(self) -> str:
        """Hex digest of the whole content."""

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""

    @property
    def facts(self) -> dict[str, Any]:
        """Facts about the table for run.json: keys of record.run_record.TeacherFacts, without losses."""

    def own_loss(self, ids_BxT: np.ndarray, lengths_B: np.ndarray | None) -> float:
        """Mean loss of the table as a model of these blocks, nats per token; inf if a token has probability 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StepRows:
    """The distinct rows of an optimizer step, parents before their children, and the row of each position."""

    sparse: SparseRows
    row: Tensor  # int64, in the shape of the contexts: number of the row that each position takes
    backoff_R: Tensor | None  # lambda, in the dtype of E; None: 0 for all rows
    parent_R: Tensor | None = None  # int64 row numbers, not used for the first level; None: there is only one level
    levels: tuple[slice, ...] = (slice(None),)  # rows of each level; rows of the first level have the parent q


class Waiting:
    """Number of positions of an optimizer step that wait for their backward pass; all parts of the step share it."""

    def __init__(self, positions: int):
        self.positions = self.left = positions

    def __del__(self) -> None:
        if 0 < self.left < self.positions:
            _log.warning(
                "guide() was given %d positions of an optimizer step, but only %d of them had a backward pass, so the "
                "gradient of the output matrix lacks the part through the teacher: give guided_loss all positions "
                "that guide() was given, with target -100 for those that must not count.",
                self.positions,
                self.positions - self.left,
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Guidance:
    """Guidance of a teacher for one optimizer step, in the space of the output matrix: the result of `teacher.guide`.

    Give `guidance`, or `guidance[i]` for micro-batch i, to `guided_loss`: each position once in an optimizer step.
    """

    weight: float  # w(t)
    rows: StepRows | None = None  # None: no distribution (teacher/kinds/ramp.py), or weight 0
    expected_RxD: Tensor | None = None  # E; the backward passes of the micro-batches add to E.grad
    expected_bias_R: Tensor | None = None  # B, as E; None: the output layer has no bias
    base_V: Tensor | None = None  # q, the vector that all rows share
    row: Tensor | None = None  # number of each position's row of E, in the shape of the contexts
    waiting: Waiting | None = None

    def __getitem__(self, part: int | slice | Tensor) -> "Guidance":
        """Guidance for a part of the contexts that `guide` was given, e.g. those of one micro-batch."""
        return self if self.row is None else replace(self, row=self.row[part])

    def through(self, output_VxD: Tensor, bias_V: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Output layer for the loss of these positions: its gradient will include the part that flows through E."""
        if self.row is None:
            return output_VxD, bias_V
        passed: tuple[Tensor, Tensor | None] = _ThroughTeacher.apply(output_VxD, bias_V, self)  # type: ignore[no-untyped-call]
        return passed

    def close(self, grad_VxD: Tensor, grad_V: Tensor | None = None) -> None:
        """Add P^T E.grad to a gradient of the output matrix, and P^T B.grad to the gradient of its bias, if any.

        E.grad and B.grad are overwritten and removed.
        """
        for leaf, grad in ((self.expected_RxD, grad_VxD), (self.expected_bias_R, grad_V)):
            if leaf is not None and grad is not None and leaf.grad is not None:
                precise = grad.to(leaf.dtype)
                matrices = (precise, leaf.grad) if grad.dim() == 2 else (precise.unsqueeze(1), leaf.grad.unsqueeze(1))
                self._add_transposed(*matrices)
                leaf.grad = None
                if precise is not grad:
                    grad.copy_(precise)

    @torch.no_grad()
    def _add_transposed(self, grad_VxD: Tensor, grad_RxD: Tensor) -> None:
        """Compute grad_VxD += P^T grad_RxD, in place; grad_RxD is overwritten."""
        assert self.rows is not None and self.base_V is not None
        rows, first = self.rows, self.rows.levels[0]
        grad_VxD = grad_VxD[: len(self.base_V)]
        # 1 each child adds lambda times its gradient to its parent
        for level in reversed(rows.levels[1:]):
            assert rows.parent_R is not None and rows.backoff_R is not None
            shared_rxD = grad_RxD[level] * rows.backoff_R[level].unsqueeze(1)
            grad_RxD.index_add_(0, rows.parent_R[level], shared_rxD)
        # 2 each row adds its gradient to the tokens of its sparse part; the first level also to q's tokens
        rows.sparse.add_transposed(grad_VxD, grad_RxD)
        if rows.backoff_R is not None:
            grad_VxD.addr_(self.base_V, rows.backoff_R[first] @ grad_RxD[first])


class _ThroughTeacher(torch.autograd.Function):
    """Identity of the output matrix and its bias; the last backward pass of a step adds the gradient through E."""

    @staticmethod
    def forward(
        ctx: Any, output_VxD: Tensor, bias_V: Tensor | None, guidance: Guidance
    ) -> tuple[Tensor, Tensor | None]:
        ctx.guidance = guidance
        return output_VxD.view_as(output_VxD), None if bias_V is None else bias_V.view_as(bias_V)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        guidance: Guidance = ctx.guidance
        assert guidance.waiting is not None and guidance.row is not None
        guidance.waiting.left -= guidance.row.numel()
        assert guidance.waiting.left >= 0, "guided_loss was given positions of a step twice"
        if not guidance.waiting.left:
            guidance.close(*grads)
        return (*grads, None)


class Teacher(ABC):
    """Base class of teachers: a student calls `guide` once an optimizer step.

    Derive a class from Teacher itself if it has no distribution; the class is then made without arguments. Derive it
    from RowTeacher if it has one. Settings name this project's classes by the keys of trainable.teacher.kinds.KINDS,
    and your own by its import path, `teacher.kind=module:ClassName`.
    """

    @abstractmethod
    def guide(
        self,
        output_VxD: Tensor,
        context: Tensor | np.ndarray,
        weight: float,
        bias_V: Tensor | None = None,
        *,
        blocks: np.ndarray | None = None,
        begins: np.ndarray | None = None,
    ) -> Guidance:
        """Return the guidance of an optimizer step; called once a step, for all micro-batches together.

        context: int64 ids [..., T], e.g. [A, B, T]; for training on a GPU give ids on the host, because a CUDA tensor
        makes the host wait. weight: w(t). bias_V: bias of the output layer, if it has one. blocks: numbers [...] of the
        blocks in the training text, for teachers whose answers are stored by block. begins [..., T]: true where a
        history begins within a row, because another text begins there or padding ends; a row begins one in any case.
        Raises InputError for an id outside the teacher's vocabulary.
        """


@dataclass(frozen=True)
class TableFile:
    """Functions that save a table to a file and load it for a later run."""

    save: Callable[[Any, Path], None]  # writes a table atomically
    load: Callable[[Path, str | None], Any]  # reads a table; refuses a damaged file and another tokenizer


class RowTeacher(Teacher):
    """Base class of teachers with a distribution: it gives the rows of a step, and the row of each position.

    A row is a sparse part and a share of a parent row; loss, gradients and sweeps need nothing else. Your own class
    needs three methods: `prepare` makes the table, once for all trials; `__init__` takes `table`, `device` and
    `product`, and sets `base_V`, the distribution [V] that all rows share; `rows` gives the rows of a step.
    trainable/README.md has a complete example.
    """

    table_file: ClassVar[TableFile | None] = None  # None: the table is made anew for each run
    base_V: Tensor  # q, the distribution that all rows share, float32 on the device; its length is the vocabulary

    @classmethod
    @abstractmethod
    def prepare(cls, material: Material) -> Table:
        """Make the table of the teacher, once for all trials. Raises InputError if there is too little text."""

    def __init__(self, table: Any, device: torch.device | str = "cpu", *, product: torch.dtype | None = None) -> None:
        """table: result of `prepare`; device: that of the student; product: dtype of products on a GPU (None: of W)."""
        self.table, self.device, self.product = table, torch.device(device), product

    @abstractmethod
    def rows(
        self,
        context: np.ndarray,
        blocks: np.ndarray | None,
        dtype: torch.dtype,
        begins: np.ndarray | None = None,
    ) -> StepRows:
        """Return the rows of a step and the row of each position; `sparse` and `backoff_R` are in `dtype`, that of E.

        context: int64 ids [..., T] on the host; the history of a position is the tokens before it in its block. blocks,
        begins: as given to `guide`; a class whose method has no `begins` is only asked about rows of one text each.
        Raises InputError for an id outside the vocabulary.
        """

    def guide(
        self,
        output_VxD: Tensor,
        context: Tensor | np.ndarray,
        weight: float,
        bias_V: Tensor | None = None,
        *,
        blocks: np.ndarray | None = None,
        begins: np.ndarray | None = None,
    ) -> Guidance:
        """Return the guidance, with E, for all positions of an optimizer step; with weight 0 nothing is computed."""
        if weight == 0:
            return Guidance(weight=0.0)
        host = context if isinstance(context, np.ndarray) else context.cpu().numpy()
        asked = (host, blocks, torch.promote_types(output_VxD.dtype, torch.float32))
        rows = self.rows(*asked) if begins is None else self.rows(*asked, begins)
        return self.guide_by(rows, output_VxD, weight, bias_V)

    @torch.no_grad()
    def guide_by(self, rows: StepRows, output_VxD: Tensor, weight: float, bias_V: Tensor | None = None) -> Guidance:
        """Return the guidance, with E, from the rows of an optimizer step, which may have been made before the step.

        Rows do not depend on W. If W is in lower precision, E and the rows are in float32.
        """
        dtype = torch.promote_types(output_VxD.dtype, torch.float32)
        base_V = self.base_V.to(dtype)

        def expected(matrix_VxD: Tensor) -> Tensor:
            product_RxD = rows.sparse.times(matrix_VxD)
            if rows.backoff_R is not None:
                first = rows.levels[0]
                product_RxD[first].addr_(rows.backoff_R[first], base_V @ matrix_VxD)
            for level in rows.levels[1:]:
                assert rows.parent_R is not None and rows.backoff_R is not None
                product_RxD[level].addcmul_(rows.backoff_R[level].unsqueeze(1), product_RxD[rows.parent_R[level]])
            return product_RxD

        # a model may have more output rows than the tokenizer has tokens
        bias_R = None if bias_V is None else expected(bias_V[: len(base_V)].to(dtype).unsqueeze(1)).squeeze(1)
        return Guidance(
            weight=weight,
            rows=rows,
            expected_RxD=expected(output_VxD[: len(base_V)].to(dtype)),
            expected_bias_R=bias_R,
            base_V=base_V,
            row=rows.row,
            waiting=Waiting(rows.row.numel()),
        )
