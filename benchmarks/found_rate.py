"""Whether the rate that `deeper find-rate` suggests is a good one: trainings at it, and at tenths and multiples of it.

    python benchmarks/found_rate.py [--source mnist] [--share 0.04] [--epochs 20] [--optimizer adamw]

NielsenNet, recipe `fast` (one cycle; the rate is its peak), judged on the validation pictures.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from deeper.runs import dataset_for, find_rate, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="mnist")
    parser.add_argument("--share", type=float, default=0.04)
    parser.add_argument("--epochs", type=float, default=20)
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--factors", default="0.1,0.3,1,3,10")
    arguments = parser.parse_args()
    dataset = dataset_for(arguments.source)
    options = {"optimizer": arguments.optimizer, "batch": 64}
    found = find_rate(dataset, model="nielsen", options=options, quiet=True)
    search = found.search
    print(f"{arguments.optimizer}: suggested {search.suggestion}, lowest loss at {search.lowest:.2g}", flush=True)
    if search.suggestion is None:
        raise SystemExit(search.reason)
    with tempfile.TemporaryDirectory() as temporary:
        for factor in map(float, arguments.factors.split(",")):
            rate = search.suggestion * factor
            result = train(
                dataset,
                model="nielsen",
                epochs=arguments.epochs,
                share=arguments.share,
                options={**options, "optimizer.rate": rate},
                out=Path(temporary) / f"{factor:g}",
                quiet=True,
            )
            assert result.validation is not None
            print(f"{factor:>5g} × = {rate:.2g}: validation {100 * result.validation.accuracy:.2f} %", flush=True)


if __name__ == "__main__":
    main()
