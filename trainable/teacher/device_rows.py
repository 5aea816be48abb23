"""A teacher's sparse rows on a GPU: the table stays in GPU memory, where a step's rows are cut and multiplied.

Nothing here waits for the device: the host knows the contexts of a step, and so every size, beforehand.
In bfloat16 long rows are multiplied as dense tiles, which takes tensor cores almost no time. Short rows, and all rows
in higher precision, are multiplied as a sparse matrix.

Internally long rows come first; both products take and return rows in the order that the caller asked for.

    V vocabulary   D width   R rows of the table   C distinct rows of a step   c short rows of a step
    K non-zeros of the table   Z non-zeros of the step   z non-zeros in short rows
"""

import warnings

import numpy as np
import torch
from torch import Tensor

from trainable.teacher.products import add_product, product

SCRATCH_BYTES = 256 << 20  # largest size of one dense tile
# {dtype: share of V from which a dense row is faster}, measured on an H200; other dtypes have no long rows.
LONG_ROW = {torch.bfloat16: 1 / 200}


class DeviceTable:
    """Sparse rows in a device's memory, from which each step cuts those that it needs.

    start_R: index of each row's first non-zero in columns_K and values_K. product: dtype of products; None: that of
    the output matrix.
    """

    def __init__(
        self,
        start_R: Tensor,
        columns_K: Tensor,
        values_K: Tensor,
        vocab_size: int,
        product: torch.dtype | None = None,
    ):
        self.start_R, self.columns_K, self.values_K = start_R, columns_K, values_K
        self.vocab_size, self.product = vocab_size, product

    @classmethod
    def of(
        cls,
        start_R: np.ndarray,
        columns_K: np.ndarray,
        values_K: np.ndarray,
        vocab_size: int,
        device: torch.device,
        product: torch.dtype | None = None,
    ) -> "DeviceTable":
        """Copy a table's rows to a device, once for a whole run. The arrays may be read-only."""
        arrays = (start_R.astype(np.int64), columns_K.astype(np.int32), np.array(values_K))
        start, columns, values = (torch.from_numpy(array).to(device) for array in arrays)
        return cls(start, columns, values, vocab_size, product)

    def with_rows(self, columns_NxK: Tensor, values_NxK: Tensor) -> "DeviceTable":
        """Return these rows and, after them, N rows of K non-zeros each, which lie on the same device."""
        rows, length = columns_NxK.shape
        first = len(self.columns_K)
        start_N = torch.arange(first, first + rows * length, length, device=self.start_R.device)
        return DeviceTable(
            torch.cat([self.start_R, start_N]),
            torch.cat([self.columns_K, columns_NxK.flatten().to(self.columns_K.dtype)]),
            torch.cat([self.values_K, values_NxK.flatten().to(self.values_K.dtype)]),
            self.vocab_size,
            self.product,
        )

    def cut(self, rows_C: np.ndarray, length_C: np.ndarray, dtype: torch.dtype) -> "DeviceRows":
        """Cut some rows, whose numbers of non-zeros the caller knows, for an output matrix of `dtype`."""
        return DeviceRows(self, rows_C, length_C, self.product or dtype)


class DeviceRows:
    """The sparse part S [C, V] of a step's rows, and its two products."""

    def __init__(self, table: DeviceTable, rows_C: np.ndarray, length_C: np.ndarray, dtype: torch.dtype):
        self.vocab_size, self.product = table.vocab_size, dtype
        device = table.columns_K.device

        # 1 on the host: order the rows, long ones first; bounds of each row's non-zeros
        is_long_C = length_C > table.vocab_size * LONG_ROW.get(dtype, 1)
        order_C = np.concatenate([np.flatnonzero(is_long_C), np.flatnonzero(~is_long_C)])
        place_C = np.empty_like(order_C)
        place_C[order_C] = np.arange(len(order_C))
        self.long = int(is_long_C.sum())
        self.bound_C1 = np.concatenate([[0], np.cumsum(length_C[order_C])])

        # 2 on the device: the row of each non-zero, and its index in the table
        facts_5xC1 = np.stack(
            [np.append(ids_C, 0) for ids_C in (rows_C[order_C], length_C[order_C], order_C, place_C)] + [self.bound_C1]
        )
        rows_C1, length_C1, order_C1, place_C1, self.first_C1 = to_device(facts_5xC1, device)
        self.order_C, self.place_C = order_C1[:-1], place_C1[:-1]
        total = int(self.bound_C1[-1])
        row_C1 = torch.arange(len(rows_C1), dtype=torch.int32, device=device)
        self.row_Z = torch.repeat_interleave(row_C1, length_C1, output_size=total)
        shift_C1 = table.start_R[rows_C1] - self.first_C1
        place_Z = torch.arange(total, device=device) + shift_C1[self.row_Z]
        self.columns_Z, self.values_Z = table.columns_K[place_Z], table.values_K[place_Z]

    def times(self, output_VxD: Tensor) -> Tensor:
        """Return S W, [C, D]."""
        long, short_Z = self._long(output_VxD.shape[1])
        product_CxD = output_VxD.new_empty(len(self.order_C), output_VxD.shape[1])
        if long:
            low_VxD = output_VxD.to(self.product)
            for first, last in self._tiles(long):
                product_CxD[first:last] = product(self._dense(first, last), low_VxD, output_VxD.dtype)
        first_c1 = self.first_C1[long:] - short_Z
        columns_z, values_z = self.columns_Z[short_Z:], self.values_Z[short_Z:]
        product_CxD[long:] = _csr(first_c1, columns_z, values_z.to(output_VxD.dtype), self.vocab_size) @ output_VxD
        return product_CxD.index_select(0, self.place_C)

    def add_transposed(self, grad_VxD: Tensor, grad_CxD: Tensor) -> None:
        """Compute grad_VxD += S^T grad_CxD, in place."""
        grad_CxD = grad_CxD.index_select(0, self.order_C)
        long, short_Z = self._long(grad_CxD.shape[1])
        if long:
            low_CxD = grad_CxD.to(self.product)
            for first, last in self._tiles(long):
                add_product(grad_VxD, self._dense(first, last).t(), low_CxD[first:last])
        # transpose the short rows by sorting: a product with a CSR's .t() is several times slower
        columns_z, order_z = torch.sort(self.columns_Z[short_Z:], stable=True)
        ids_V1 = torch.arange(self.vocab_size + 1, dtype=torch.int32, device=columns_z.device)
        first_V1 = torch.searchsorted(columns_z, ids_V1)
        row_z, values_z = self.row_Z[short_Z:][order_z] - long, self.values_Z[short_Z:][order_z]
        short_Vxc = _csr(first_V1, row_z, values_z.to(grad_CxD.dtype), len(grad_CxD) - long)
        torch.addmm(grad_VxD, short_Vxc, grad_CxD[long:], out=grad_VxD)

    def _long(self, width: int) -> tuple[int, int]:
        """Number of rows multiplied as dense tiles, and index of the first non-zero of the other rows.

        A matrix of one column (a bias) has no dense tiles: it gains nothing from tensor cores, and would be rounded.
        """
        long = self.long if width > 1 else 0
        return long, int(self.bound_C1[long])

    def _tiles(self, long: int) -> list[tuple[int, int]]:
        """First and last row of each dense tile of the long rows."""
        rows = max(1, SCRATCH_BYTES // (self.vocab_size * self.product.itemsize))
        return [(first, min(first + rows, long)) for first in range(0, long, rows)]

    def _dense(self, first: int, last: int) -> Tensor:
        """Rows first to last as a dense tile, [last - first, V]."""
        here = slice(int(self.bound_C1[first]), int(self.bound_C1[last]))
        tile = torch.zeros(last - first, self.vocab_size, dtype=self.product, device=self.values_Z.device)
        at_z = (self.row_Z[here].long() - first) * self.vocab_size + self.columns_Z[here]
        tile.view(-1).scatter_(0, at_z, self.values_Z[here].to(self.product))
        return tile


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Copy an array to a device; to a GPU from page-locked memory, so that the host does not wait."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _csr(first: Tensor, columns: Tensor, values: Tensor, width: int) -> Tensor:
    """Sparse matrix of `width` columns. first: index of each row's first non-zero, then the end of the last row."""
    with warnings.catch_warnings():  # "CSR support is in beta"
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(first.int(), columns, values, size=(len(first) - 1, width))
