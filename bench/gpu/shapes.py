"""The shapes that are measured, and the performance targets on an H100."""

import math
from dataclasses import dataclass

MOST_SETS = 256


@dataclass(frozen=True)
class Shape:
    loss: str
    rows: int
    dim: int

    @property
    def towers(self):
        return {"ntXent": 1, "hardNegatives": 3}.get(self.loss, 2)

    @property
    def matrix_bytes(self):
        return 4 * self.rows * self.dim

    def enough_sets(self, l2_bytes):
        """How many sets of inputs and gradients fill twice the L2 cache, so that no call finds its own there."""
        return min(math.ceil(2 * l2_bytes / (2 * self.towers * self.matrix_bytes)) + 1, MOST_SETS)


# By level. `faster` is over the contestant named, besides those of FASTER.
AIMS = [
    (Shape("ntXent", 8192, 128), {"medium": {"medianMs": 0.085}}),
    (Shape("ntXent", 16384, 256), {"medium": {"medianMs": 0.65}, "highest": {"faster": {"eager float32": 5}}}),
    (Shape("ntXent", 32768, 256), {"medium": {"medianMs": 2.4, "teraflopsPlain": 690}}),
    (Shape("ntXent", 8192, 1024), {"medium": {"medianMs": 0.9}}),
    (Shape("clip", 65536, 768), {"medium": {"medianMs": 45}}),
    (Shape("ntXent", 1 << 20, 128), {"medium": {"extraBytes": 2e9}}),
]
FASTER = {"eager bf16 autocast": 5, "eager bf16 tensors": 5, "compile bf16 autocast": 3, "compile bf16 tensors": 3}
FASTER_FROM_ROWS = 8192
MATRIX_FITS = 1 << 16  # rows up to which PyTorch can hold the N x N matrix


def judged(row, aim):
    """What was aimed at of a row of infonce, and whether it was reached."""
    return {
        key: {"aim": bound, "reached": row[key] >= bound if key == "teraflopsPlain" else row[key] <= bound}
        for key, bound in aim.items()
        if key != "faster"
    }


def faster_aims(shape):
    """How many times as fast as each contestant infonce is to be."""
    found = dict(FASTER) if shape.rows >= FASTER_FROM_ROWS else {}
    for aim in dict(AIMS).get(shape, {}).values():
        found.update(aim.get("faster", {}))
    return found
