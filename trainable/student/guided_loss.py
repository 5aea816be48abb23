"""The guided loss, computed exactly without a dense target.

With h a hidden state, W the output matrix, c the context, y the target and w the teacher's weight:

    - sum_k (w p(k|c) + (1-w) [k=y]) log softmax(W h)_k  =  logsumexp(W h) - (1-w) <h, W[y]> - w <h, E[c]>

with E[c] = sum_k p(k|c) W[k], because sum_k p(k|c) = 1. The teacher computes the rows E of an optimizer step
(teacher/teacher.py). A bias b of the output layer is treated as one more column of W, for which every h has a 1; its
part of E is B[c] = sum_k p(k|c) b[k].

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

    hidden_NxD: the model's last hidden states. output_VxD: its output matrix, as the parameter itself, with one row for
    each token. bias_V: the bias of the output layer, if it has one; `guidance` must be made with the same bias. No
    [N, V] tensor is made. target_N: int64 ids; a position with target -100 (IGNORE_INDEX) does not count. guidance:
    guidance for these N positions, in their order (for micro-batch i, `guidance[i]`); None: plain cross-entropy.
    The loss allows one backward pass. All positions that `guide` was given for an optimizer step must take part in a
    backward pass of the step; the last of these adds the part that flows through the teacher to the gradients of
    `output_VxD` and `bias_V`.
    """
    if guidance is None:
        return chunked_cross_entropy(hidden_NxD, output_VxD, target_N, bias_V)
    if guidance.expected_RxD is None or guidance.row is None:  # no distribution: only the weight of the text is lower
        return chunked_cross_entropy(hidden_NxD, output_VxD, target_N, bias_V) * (1 - guidance.weight)
    output_VxD, bias_V = guidance.through(output_VxD, bias_V)
    expected = Expected(guidance.weight, guidance.row.reshape(-1), guidance.expected_RxD, guidance.expected_bias_R)
    return chunked_cross_entropy(hidden_NxD, output_VxD, target_N, bias_V, expected)
