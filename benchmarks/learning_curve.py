"""What `deeper learn-curve` foretells, against what more pictures then give.

    python benchmarks/learning_curve.py [--shares 1,2,4] [--seeds 2] [--epochs 30] [--out FOLDER]

NielsenNet on shares of MNIST's 55,000 training digits, judged on the 5,000 validation digits; then, with the same number
of steps, on twice the largest share, which the extrapolation has not seen. The smallest shares are few digits on
purpose: there errors are many, and the answer is known to be yes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from deeper.runs import dataset_for, learn_curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="mnist")
    parser.add_argument("--shares", default="1,2,4")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=float, default=30, help="of the largest share")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    dataset = dataset_for(arguments.source)
    shares = [float(word) for word in arguments.shares.split(",")]
    # Epochs are those of the whole set; all runs then take as many steps.
    epochs = arguments.epochs * max(shares) / 100
    with tempfile.TemporaryDirectory() as temporary:
        out = arguments.out or Path(temporary) / "curve"
        common = {"model": "nielsen", "seeds": arguments.seeds, "epochs": epochs, "quiet": True}
        curve = learn_curve(dataset, shares=shares, out=out, **common)
        for point in curve.points:
            low, high = (100 * bound for bound in point.interval)
            print(f"{point.pictures:>6,} digits: {100 * point.mean:.2f} % ({low:.2f} to {high:.2f})", flush=True)
        assert curve.answer is not None
        print(curve.answer.text)
        foretold = next(reach for reach in curve.answer.reaches if reach.times == 2)
        # In a folder of its own: it must not enter the curve above.
        further = learn_curve(dataset, shares=[shares[-1], 2 * shares[-1]], out=out.with_name("further"), **common)
        found = statistics.fmean(further.points[-1].accuracies)
        low, high = (100 * bound for bound in foretold.interval)
        print(
            f"{further.points[-1].pictures:>6,} digits: foretold {100 * foretold.accuracy:.2f} % ({low:.2f} to {high:.2f}), "
            f"found {100 * found:.2f} %"
        )


if __name__ == "__main__":
    main()
