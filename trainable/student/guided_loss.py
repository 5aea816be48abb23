"""The guided loss, exactly, without a dense target.

With h a hidden state, W the output matrix, c the previous token, y the target and w the teacher's weight:

    - sum_k (w p(k|c) + (1-w) [k=y]) log softmax(W h)_k  =  logsumexp(W h) - (1-w) <h, W[y]> - w <h, E[c]>

with E[c] = sum_k p(k|c) W[k], because sum_k p(k|c) = 1. The rows E of an optimizer step come from the teacher
(teacher/guidance.py).

    N tokens of a micro-batch   V vocabulary   D width   C distinct contexts of a step
"""

from torch import Tensor

from trainable.student.output_layer import chunked_cross_entropy
from trainable.teacher.guidance import Guidance


def guided_loss(
    hidden_NxD: Tensor, output_VxD: Tensor, context_N: Tensor, target_N: Tensor, guidance: Guidance | None
) -> Tensor:
    """Summed guided cross-entropy in nats over the positions whose target is not IGNORE_INDEX.

    Plain cross-entropy where `guidance` is None. `context_N` and `target_N` are int64 ids. Backward runs once.
    """
    if guidance is None:
        return chunked_cross_entropy(hidden_NxD, output_VxD, target_N)
    row_N = guidance.row_V[context_N]
    return chunked_cross_entropy(hidden_NxD, output_VxD, target_N, guidance.weight, guidance.expected_CxD, row_N)
