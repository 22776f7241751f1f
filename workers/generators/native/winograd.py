"""The transforms of F(4x4, 3x3): of weights with numpy, and of inputs and outputs as sums that the code generator emits.

With the points 0, 1, -1, 2, -2 and infinity, in the notation of Lavin and Gray: Y = A^T [(G g G^T) * (B^T d B)] A.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

OUTPUT = 4
"""Side of one tile in output pixels."""
INPUT = 6
"""Side in pixels of the input square that a tile depends on."""

_G = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)

DOUBLED = (0, 1, 3, 4, 5)
"""The rows of B^T d that are not zero when d repeats every pixel of a smaller image: row 2 is 4 d1 - 4 d2 - d3 + d4,
where d1 = d2 and d3 = d4. So a convolution of a doubled image needs 25 products and not 36."""
ALL = (0, 1, 2, 3, 4, 5)

V = TypeVar("V")


def weights(g: npt.NDArray[np.float32], rows: Sequence[int], inputs: int, outputs: int) -> npt.NDArray[np.float32]:
    """Return G g G^T of weights O x I x 3 x 3: products x `inputs` x `outputs`, padded with zeros; computed in float64."""
    chosen = _G[list(rows)]
    both = np.kron(chosen, chosen)
    plain = g.astype(np.float64).transpose(2, 3, 1, 0).reshape(9, -1)
    u = (both @ plain).reshape(len(both), g.shape[1], g.shape[0])
    padded = np.zeros((len(both), inputs, outputs), np.float32)
    padded[:, : g.shape[1], : g.shape[0]] = u
    return padded


class Arithmetic(Generic[V]):
    """The operations of the transforms: `add`, `sub`, and `mad(x, c, y)` = x * c + y (x * c without y) for a constant c."""

    def __init__(
        self, add: Callable[[V, V], V], sub: Callable[[V, V], V], mad: Callable[[V, float, V | None], V]
    ) -> None:
        self.add, self.sub, self.mad = add, sub, mad


def input_rows(d: Sequence[V], rows: Sequence[int], op: Arithmetic[V]) -> list[V]:
    """Return the `rows` of B^T d, for one column d of 6 values."""
    p = op.mad(d[2], -4.0, d[4])
    q = op.mad(d[1], -4.0, d[3])
    r = op.sub(d[4], d[2])
    s = op.mad(op.sub(d[3], d[1]), 2.0, None)
    made = {
        0: lambda: op.mad(d[0], 4.0, op.mad(d[2], -5.0, d[4])),
        1: lambda: op.add(p, q),
        2: lambda: op.sub(p, q),
        3: lambda: op.add(r, s),
        4: lambda: op.sub(r, s),
        5: lambda: op.mad(d[1], 4.0, op.mad(d[3], -5.0, d[5])),
    }
    return [made[k]() for k in rows]


def output_rows(m: Sequence[V], rows: Sequence[int], op: Arithmetic[V]) -> list[V]:
    """Return the 4 values of A^T m, for one column m of the products of `rows`; the other products are zero."""
    at = dict(zip(rows, m, strict=True))
    one = (op.add(at[1], at[2]), op.sub(at[1], at[2])) if 2 in at else (at[1], at[1])
    two = op.add(at[3], at[4]), op.sub(at[3], at[4])
    return [
        op.add(op.add(at[0], one[0]), two[0]),
        op.mad(two[1], 2.0, one[1]),
        op.mad(two[0], 4.0, one[0]),
        op.add(op.mad(two[1], 8.0, one[1]), at[5]),
    ]
