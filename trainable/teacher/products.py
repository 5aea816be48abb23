"""Matrix products of factors in low precision whose sums are in higher precision."""

import torch
from torch import Tensor


def product(left_MxN: Tensor, right_NxD: Tensor, dtype: torch.dtype) -> Tensor:
    """Matrix product, summed and returned in `dtype`, for factors of any dtype."""
    if left_MxN.dtype == dtype:
        return left_MxN @ right_NxD
    if left_MxN.device.type == "cuda":
        return torch.mm(left_MxN, right_NxD, out_dtype=dtype)
    return left_MxN.to(dtype) @ right_NxD.to(dtype)


def add_product(sum_MxD: Tensor, left_MxN: Tensor, right_NxD: Tensor) -> None:
    """Compute sum += left @ right in place, for factors of the sum's dtype or of a lower precision.

    On a GPU the product is never rounded or written by itself. On a CPU it is rounded to the dtype of the factors,
    because this costs least there.
    """
    if left_MxN.dtype == sum_MxD.dtype:
        sum_MxD.addmm_(left_MxN, right_NxD)
    elif sum_MxD.device.type == "cuda" and sum_MxD.shape[1] > 1:
        torch.addmm(sum_MxD, left_MxN, right_NxD, out_dtype=sum_MxD.dtype, out=sum_MxD)
    else:
        sum_MxD += left_MxN @ right_NxD
