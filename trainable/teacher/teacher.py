"""What every teacher gives a student in one optimizer step, and the interface that every teacher has.

The guided loss needs no distribution over the vocabulary, only its expectation of the output matrix W,
E = sum_k p(k) W[k] (student/guided_loss.py). So a teacher says which *row* each position takes, and what its rows are.
Rows of all teachers have one form, a sparse part plus a share of a parent row,

    p_r = S_r + lambda_r p_parent(r),    so    E_r = S_r W + lambda_r E_parent(r),

with the vector q that all rows share as the last parent, E_q = q W. A bigram table has one level of rows, an n-gram
table one level an order, a trained model's answers one row a position. Where the output layer has a bias b, the bias
expected is B = P b: b is one more column of W.

W does not change within an optimizer step, so E is computed once a step, outside autograd. Every micro-batch adds to
E.grad. The backward pass in which the last position of the step takes part applies the chain rule through E, from the
children to their parents and then to W: W.grad += S^T E.grad. That is within autograd, before any hook of W sees its
gradient: DistributedDataParallel, gradient scalers and clipping need to know nothing of it.

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
    """S [R, V] of a step and its two products (host_rows.py on a CPU, device_rows.py on a GPU)."""

    def times(self, output_VxD: Tensor) -> Tensor:
        """S W, [R, D]."""

    def add_transposed(self, grad_VxD: Tensor, grad_RxD: Tensor) -> None:
        """grad_VxD += S^T grad_RxD, in place."""


class Table(Protocol):
    """What a teacher knows: arrays in a dataclass, which trials share."""

    @property
    def vocab_size(self) -> int:
        """Tokens in the vocabulary."""

    @property
    def checksum(self) -> str:
        """Hex digest of all that it holds."""

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the record says of it: keys of record.run_record.TeacherFacts, without losses."""

    def own_loss(self, ids_BxT: np.ndarray, lengths_B: np.ndarray | None) -> float:
        """Its loss as a model of these blocks, nats per token; inf where it gives a token no chance."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StepRows:
    """The distinct rows of an optimizer step, parents before their children, and which row each position takes."""

    sparse: SparseRows
    row: Tensor  # int64, of the shape of the contexts: the row that each position takes
    backoff_R: Tensor | None  # lambda, in the dtype of E; None: 0 for all rows
    parent_R: Tensor | None = None  # int64 row numbers, of which the first level's mean nothing; None: one level alone
    levels: tuple[slice, ...] = (slice(None),)  # rows of each level; the parent of the first level's rows is q


class Waiting:
    """How many positions of an optimizer step wait for their backward pass; one object for all parts of the step."""

    def __init__(self, positions: int):
        self.positions = self.left = positions

    def __del__(self) -> None:
        if 0 < self.left < self.positions:
            _log.warning(
                "a teacher was asked about %d positions of an optimizer step, and %d of them had a backward pass: the "
                "gradient of the output matrix lacks what flows back through the teacher. Hand guided_loss all "
                "positions that guide() was given, with target -100 where one shall count for nothing.",
                self.positions,
                self.positions - self.left,
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Guidance:
    """What a teacher says in one optimizer step, in the space of the output matrix: what `teacher.guide` returns.

    Give `guidance`, or `guidance[i]` of micro-batch i, to `guided_loss`: each position once in an optimizer step.
    """

    weight: float  # w(t)
    rows: StepRows | None = None  # None: a teacher without a distribution (teacher/kinds/ramp.py), or of weight 0
    expected_RxD: Tensor | None = None  # E: the backward passes of the micro-batches add to its .grad
    expected_bias_R: Tensor | None = None  # B, as E; None: the output layer has no bias
    base_V: Tensor | None = None  # q, the vector that all rows share
    row: Tensor | None = None  # the row of E that each position takes, in the shape of the contexts
    waiting: Waiting | None = None

    def __getitem__(self, part: int | slice | Tensor) -> "Guidance":
        """The same for some of the contexts that `guide` was given, e.g. those of one micro-batch."""
        return self if self.row is None else replace(self, row=self.row[part])

    def through(self, output_VxD: Tensor, bias_V: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The output layer as the loss of these positions takes it: the gradient through E comes back with its own."""
        if self.row is None:
            return output_VxD, bias_V
        passed: tuple[Tensor, Tensor | None] = _ThroughTeacher.apply(output_VxD, bias_V, self)  # type: ignore[no-untyped-call]
        return passed

    def close(self, grad_VxD: Tensor, grad_V: Tensor | None = None) -> None:
        """Add P^T E.grad to a gradient of the output matrix, and P^T B.grad to that of its bias, if it has one.

        E.grad and B.grad are spent.
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
        """grad_VxD += P^T grad_RxD, in place; grad_RxD is spent."""
        assert self.rows is not None and self.base_V is not None
        rows, first = self.rows, self.rows.levels[0]
        grad_VxD = grad_VxD[: len(self.base_V)]
        # 1 children give their parents a share of their gradient
        for level in reversed(rows.levels[1:]):
            assert rows.parent_R is not None and rows.backoff_R is not None
            shared_rxD = grad_RxD[level] * rows.backoff_R[level].unsqueeze(1)
            grad_RxD.index_add_(0, rows.parent_R[level], shared_rxD)
        # 2 every row gives to the tokens that it expects
        rows.sparse.add_transposed(grad_VxD, grad_RxD)
        if rows.backoff_R is not None:
            grad_VxD.addr_(self.base_V, rows.backoff_R[first] @ grad_RxD[first])


class _ThroughTeacher(torch.autograd.Function):
    """The output matrix and its bias as they are; backward, the step's last positions bring the gradient through E."""

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
    """The base class of teachers: a student asks its teacher for guidance, `guide`, once an optimizer step.

    A class that derives from this one alone knows nothing of the text, and is made without arguments; one that knows
    a distribution derives from RowTeacher. Settings name those of this project by the keys of
    trainable.teacher.kinds.KINDS, and one's own by its import path, `teacher.kind=module:ClassName`.
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
        """What the teacher says in an optimizer step: called once a step, for all micro-batches together.

        context: int64 ids [..., T], e.g. [A, B, T]; with a GPU, give the ids as they lie on the host: those of a CUDA
        tensor are waited for. `weight` is w(t), `bias_V` the bias of the output layer, if it has one, `blocks` the
        numbers [...] of the blocks in the training text, for teachers that have answered to these blocks. `begins`
        [..., T] is true where a position's history begins anew, as it does at the beginning of a row: where another
        text begins in the row, or after padding.
        Raises InputError for an id outside the teacher's vocabulary.
        """


@dataclass(frozen=True)
class TableFile:
    """How a table is kept for the next run."""

    save: Callable[[Any, Path], None]  # writes a table, whole or not at all
    load: Callable[[Path, str | None], Any]  # reads it, and refuses a damaged one, or one of another tokenizer


class RowTeacher(Teacher):
    """The base class of teachers with a distribution: they say which row each position takes, and what rows hold.

    A row is a sparse part and a share of a parent row; loss, gradients and sweeps need nothing else. A class of one's
    own is given three methods: `prepare` makes what it knows, once for all trials; `__init__` takes that as `table`
    (with `device` and `product` as below) and sets `base_V`, the distribution [V] that all rows share; `rows` says what
    it teaches in a step. trainable/README.md has one in full.
    """

    table_file: ClassVar[TableFile | None] = None  # None: the table is made for each run
    base_V: Tensor  # q, the distribution that all rows share, float32 on the device; its length is the vocabulary

    @classmethod
    @abstractmethod
    def prepare(cls, material: Material) -> Table:
        """What the teacher knows, made once for all trials. Raises InputError where there is too little text."""

    def __init__(self, table: Any, device: torch.device | str = "cpu", *, product: torch.dtype | None = None) -> None:
        """Args: what `prepare` made; where the student is; dtype of products on a GPU (None: that of W)."""
        self.table, self.device, self.product = table, torch.device(device), product

    @abstractmethod
    def rows(
        self,
        context: np.ndarray,
        blocks: np.ndarray | None,
        dtype: torch.dtype,
        begins: np.ndarray | None = None,
    ) -> StepRows:
        """The rows of a step, with `sparse` and `backoff_R` in `dtype`, that of E, and which row each position takes.

        context: int64 ids [..., T] on the host; what stands before a position in its block is the position's history.
        blocks, begins: as `guide` was given them; a class without `begins` is asked about whole rows alone. Raises
        InputError for an id outside the vocabulary.
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
        """E for all positions of an optimizer step; nothing is made where the weight is 0."""
        if weight == 0:
            return Guidance(weight=0.0)
        host = context if isinstance(context, np.ndarray) else context.cpu().numpy()
        asked = (host, blocks, torch.promote_types(output_VxD.dtype, torch.float32))
        rows = self.rows(*asked) if begins is None else self.rows(*asked, begins)
        return self.guide_by(rows, output_VxD, weight, bias_V)

    @torch.no_grad()
    def guide_by(self, rows: StepRows, output_VxD: Tensor, weight: float, bias_V: Tensor | None = None) -> Guidance:
        """E from the rows of an optimizer step, which know nothing of W: they may have been made ahead.

        E is in float32 where W is in lower precision, as the rows are.
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
