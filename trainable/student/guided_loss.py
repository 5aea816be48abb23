"""The guided loss, exactly, without a dense target.

With h a hidden state, W the output matrix, c what stands before, y the target and w the teacher's weight:

    - sum_k (w p(k|c) + (1-w) [k=y]) log softmax(W h)_k  =  logsumexp(W h) - (1-w) <h, W[y]> - w <h, E[c]>

with E[c] = sum_k p(k|c) W[k], because sum_k p(k|c) = 1. The rows E of an optimizer step come from the teacher
(teacher/teacher.py). A bias b of the output layer is one more column of W, for which every h has a 1: its part of E is
B[c] = sum_k p(k|c) b[k].

    N tokens of a micro-batch   V vocabulary   D width   R distinct rows of a step
"""

from torch import Tensor

from trainable.student.output_layer import Expected, chunked_cross_entropy
from trainable.teacher.teacher import Guidance


def guided_loss(
    hidden_NxD: Tensor,
    output_VxD: Tensor,
    target_N: Tensor,
    guidance: Guidance | None,
    bias_V: Tensor | None = None,
) -> Tensor:
    """Cross-entropy with the target w p(. | context) + (1 - w) onehot, **summed** over N positions, in nats.

    hidden_NxD: the model's last hidden states; output_VxD: its output matrix, the parameter itself, of which every row
    is a token (bias_V: its bias, if it has one, which `guidance` was made with). No [N, V] tensor is made.
    target_N: int64 ids; positions of target -100 (IGNORE_INDEX) count for nothing. guidance: what the teacher says of
    these N positions, in their order: of a micro-batch, `guidance[its number]`; None: plain cross-entropy.
    Its backward runs once. All positions that the teacher was asked about for an optimizer step take part in some
    backward pass of the step; in the last of these the gradients of `output_VxD` and `bias_V` get what flows back
    through the teacher.
    """
    if guidance is None:
        return chunked_cross_entropy(hidden_NxD, output_VxD, target_N, bias_V)
    if guidance.expected_RxD is None or guidance.row is None:  # no distribution: the text alone counts less
        return chunked_cross_entropy(hidden_NxD, output_VxD, target_N, bias_V) * (1 - guidance.weight)
    output_VxD, bias_V = guidance.through(output_VxD, bias_V)
    expected = Expected(guidance.weight, guidance.row.reshape(-1), guidance.expected_RxD, guidance.expected_bias_R)
    return chunked_cross_entropy(hidden_NxD, output_VxD, target_N, bias_V, expected)
