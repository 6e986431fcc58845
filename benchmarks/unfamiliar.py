"""How well pictures of another kind are told from digits, by several scores of the same network.

    python benchmarks/unfamiliar.py [RUN]

RUN: a NielsenNet trained on MNIST; one is trained on 5,000 digits where none is given. Each score's threshold is the
one-hundredth quantile on validation digits; printed is the share of pictures below it: of test digits (wanted: 0.01) and
of each kind that is none (wanted: 1). The bundle stores the threshold of the familiarity, and answers "unsure" below.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from data_folder import data_folder
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deeper.engines import open_engine
from deeper.images import Preprocess
from deeper.inference import Scores, familiarity, softmax
from deeper.prediction import Classifier
from deeper.records import BuildOptions, Dataset, build, open_source
from deeper.runs import Run, train

LETTERS = "ABCDEFGHKMNPRTUVWXYaefhkmnrtuwxy&%?#@"
COUNT = 500


def trained(place: Path) -> Path:
    """A network that saw 5,000 training digits; 1,000 more are for validation."""
    items = [item for item in open_source("mnist").items if item.split == "train"]
    order = np.random.default_rng(0).permutation(len(items))
    arrays = {
        split: (np.stack([items[one].array for one in chosen]), [items[one].label for one in chosen])
        for split, chosen in (("train", order[:5000]), ("validation", order[5000:6000]), ("test", order[6000:8000]))
    }
    build(open_source(arrays), place / "set", options=BuildOptions())
    train(Dataset(place / "set"), recipe="fast", out=place / "run", epochs=5, quiet=True, options={"batch": 128})
    return place / "run"


def letters(generator: np.random.Generator, fit: Preprocess) -> NDArray[np.uint8]:
    """White on black, centred, of the height of a digit."""
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    drawn = []
    for number in range(COUNT):
        picture = Image.new("L", (fit.width, fit.height))
        draw, letter = ImageDraw.Draw(picture), LETTERS[number % len(LETTERS)]
        face = ImageFont.truetype(str(font), int(generator.integers(18, 23)))
        left, top, right, bottom = draw.textbbox((0, 0), letter, font=face)
        draw.text(((fit.width - left - right) / 2, (fit.height - top - bottom) / 2), letter, font=face, fill=255)
        drawn.append(np.asarray(picture)[..., None])
    return np.stack(drawn)


def strangers(digits: NDArray[np.uint8], fit: Preprocess) -> dict[str, NDArray[np.uint8]]:
    generator = np.random.default_rng(1)
    flowers = sorted((data_folder() / "flowers12").rglob("*.jpg"))[:COUNT]
    one, other = digits[:COUNT], digits[COUNT : 2 * COUNT]
    return {
        "noise": generator.integers(0, 256, one.shape).astype(np.uint8),
        "shuffled": generator.permuted(one.reshape(len(one), -1), axis=1).reshape(one.shape),
        "flowers": np.stack([fit.read(path.read_bytes()) for path in flowers]),
        "letters": letters(generator, fit),
        "two digits": np.maximum(one, other),
        "turned pairs": np.roll(np.rot90(one, axes=(1, 2)), 3, 1) | np.roll(other, -5, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        run = arguments.run or trained(Path(temporary))
        classifier, dataset = Classifier(run), Run(run).dataset()
        predict = open_engine(run, engine="torch").predict
        pictures = {
            split: np.stack([dataset.split(split).picture(number) for number in range(1000)])
            for split in ("train", "validation", "test")
        }
        labels = np.asarray(dataset.split("train").labels)[:1000]
    pictures |= strangers(pictures["test"], classifier.preprocess)
    scores = {kind: predict(some) for kind, some in pictures.items()}
    temperature = np.float32(classifier.info.temperature or 1)
    known = _unit(scores["train"].features)
    means = _unit(np.stack([known[labels == label].mean(0) for label in np.unique(labels)]))
    measures: dict[str, Callable[[Scores], NDArray[np.float64]]] = {
        "probability": lambda one: softmax(one.logits / temperature).max(1),
        "familiarity": lambda one: familiarity(one.logits),
        "tenth neighbour": lambda one: np.sort(_unit(one.features) @ known.T, axis=1)[:, -10],
        "nearest mean": lambda one: (_unit(one.features) @ means.T).max(1),
    }
    kinds = [kind for kind in pictures if kind not in ("train", "validation")]
    print(f"{'':16}" + "".join(f"{kind:>18}" for kind in kinds))
    for name, measure in measures.items():
        least = np.quantile(measure(scores["validation"]), 0.01)
        print(f"{name:16}" + "".join(f"{(measure(scores[kind]) < least).mean():18.2f}" for kind in kinds))
    remarks = classifier.info.appearance.remarks
    print(
        f"{'appearance':16}" + "".join(f"{np.mean([bool(one) for one in remarks(pictures[k])]):18.2f}" for k in kinds)
    )
    answered = [[bool(one.unsure) for one in classifier.answer(pictures[kind])] for kind in kinds]
    print(f"{'unsure in all':16}" + "".join(f"{np.mean(one):18.2f}" for one in answered))


def _unit(features: NDArray[np.floating]) -> NDArray[np.float64]:
    features = features.astype(np.float64)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
