"""What TensorBoard costs: the share of a training run spent in it, at the default cadence.

    python benchmarks/monitor_cost.py

One run of the fast recipe on MNIST; `TensorBoard` counts its own seconds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from deeper.monitor import TensorBoard
from deeper.runs import dataset_for, train


def main() -> None:
    boards: list[TensorBoard] = []
    original = TensorBoard.close

    def close(self: TensorBoard) -> None:
        boards.append(self)
        original(self)

    TensorBoard.close = close  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as temporary:
        result = train(dataset_for("mnist"), model="nielsen", out=Path(temporary) / "run", quiet=True)
    spent = boards[0].seconds
    total = sum(spent.values())
    for piece, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{piece}: {seconds:.2f} s")
    print(f"TensorBoard: {total:.1f} s of {result.seconds:.1f} s, {total / result.seconds:.1%}")


if __name__ == "__main__":
    main()
