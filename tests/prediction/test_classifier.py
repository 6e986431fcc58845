"""`Classifier`: every way to give a picture, one answer."""

from __future__ import annotations

import io
import math
import struct
import time
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from deeper.errors import BundleError, SourceError, UsageError
from deeper.images import encode_png
from deeper.inference import predictor, softmax
from deeper.models import create
from deeper.prediction import Classifier, Failed, Pause, Prediction
from tests.sample_network import ARCHITECTURE, CLASSES, PREPROCESS, network, write


def same(one: Prediction, other: Prediction) -> bool:
    return np.array_equal(one.logits, other.logits)


def test_a_prediction(classifier, images):
    one = classifier(images[0])
    assert isinstance(one, Prediction) and one.label == CLASSES[one.index]
    assert next(iter(one.probabilities)) == one.label and one.probabilities[one.label] == one.probability
    values = list(one.probabilities.values())
    assert values == sorted(values, reverse=True) and sum(values) == pytest.approx(1)
    assert set(one.probabilities) == set(CLASSES) and one.logits.dtype == np.float32
    assert one.top(3) == list(one.probabilities.items())[:3]
    assert classifier.classes == CLASSES


def test_answers_are_bit_equal_to_the_one_path(classifier, images):
    wanted = predictor(network(), PREPROCESS)(images).logits
    np.testing.assert_array_equal([one.logits for one in classifier(images)], wanted)


def test_across_batch_sizes_they_agree(folder, images, classifier):
    wanted = softmax(np.stack([one.logits for one in classifier(images)]))
    given = softmax(np.stack([one.logits for one in Classifier(folder, device="cpu", batch=7)(images)]))
    assert np.abs(given - wanted).max() <= 1e-5


def png(picture) -> bytes:
    return encode_png(picture)


ONE = {
    "H×W×1": lambda p: p,
    "H×W": lambda p: p[..., 0],
    "H×W×3": lambda p: np.repeat(p, 3, axis=2),
    "floats 0..1": lambda p: p[..., 0] / 255,
    "floats 0..255": lambda p: p.astype(np.float64),
    "float32 0..1": lambda p: (p / 255).astype(np.float32),
    "int64": lambda p: p.astype(np.int64),
    "PNG bytes": png,
    "a bytearray": lambda p: bytearray(png(p)),
    "a memoryview": lambda p: memoryview(png(p)),
    "PIL L": lambda p: Image.fromarray(p[..., 0]),
    "PIL RGB": lambda p: Image.fromarray(p[..., 0]).convert("RGB"),
    "PIL LA": lambda p: Image.fromarray(p[..., 0]).convert("LA"),
    "PIL RGBA": lambda p: Image.fromarray(p[..., 0]).convert("RGBA"),
    "PIL I;16": lambda p: Image.fromarray(p[..., 0].astype(np.uint16) * 257),
    "PIL from a file": lambda p: Image.open(io.BytesIO(png(p))),
    "a tensor": lambda p: torch.from_numpy(p),
}


@pytest.mark.parametrize("kind", ONE)
def test_one_picture_in_every_form(classifier, images, kind):
    given = classifier(ONE[kind](images[3].copy()))
    assert isinstance(given, Prediction) and same(given, classifier(images[3]))


def test_file_names(classifier, images, tmp_path, monkeypatch):
    path = tmp_path / "ein Bild\nmit é.png"
    path.write_bytes(png(images[3]))
    assert same(classifier(path), classifier(images[3])) and same(classifier(str(path)), classifier(images[3]))
    assert classifier(path).source == str(path)


@pytest.fixture
def whole_batches(monkeypatch):
    """However late a source is, its batches are cut as if it were not: last digits depend on that."""
    monkeypatch.setattr("deeper.prediction.classifier._SLOW", math.inf)


MANY = {
    "N×H×W×1": lambda p: p,
    "N×H×W": lambda p: p[..., 0],
    "N×H×W×3": lambda p: np.repeat(p, 3, axis=3),
    "floats 0..1": lambda p: p / 255,
    "floats 0..255": lambda p: p.astype(np.float32),
    "a list": list,
    "a tuple of mixed kinds": lambda p: tuple(png(one) if number % 2 else one[..., 0] for number, one in enumerate(p)),
    "a generator": iter,
    "a tensor": lambda p: torch.from_numpy(p[..., 0]),
}


@pytest.mark.parametrize("kind", MANY)
def test_several_pictures_in_every_form_and_in_order(classifier, images, kind, whole_batches):
    wanted, given = classifier(images), classifier(MANY[kind](images.copy()))
    assert isinstance(given, list) and len(given) == 60
    assert all(same(one, other) for one, other in zip(given, wanted, strict=True))


def test_different_sizes_in_one_list(classifier, images):
    large = np.kron(images[0][..., 0], np.ones((5, 5), np.uint8))
    wide = np.zeros((40, 90, 3), np.uint8)
    answers = classifier([large, wide, images[1]])
    assert [answer.source for answer in answers] == ["picture 0", "picture 1", "picture 2"]
    assert answers[0].label == classifier(images[0]).label and same(answers[2], classifier([images[1]] * 3)[2])


def test_three_axes_are_one_picture_only_with_1_3_or_4_channels(classifier):
    assert isinstance(classifier(np.zeros((40, 30, 3), np.uint8)), Prediction)
    assert isinstance(classifier(np.zeros((40, 30, 1), np.uint8)), Prediction)
    assert len(classifier(np.zeros((3, 40, 30), np.uint8))) == 3
    assert len(classifier(np.zeros((1, 40, 30), np.uint8))) == 1
    with pytest.raises(SourceError, match="drop alpha"):
        classifier(np.zeros((40, 30, 4), np.uint8))


def test_a_dark_picture_among_bright_ones_stays_dark(classifier, images):
    dark = (images[:1] > 128).astype(np.float32)  # grey levels 0 and 1 of 255
    bright = images[1:2].astype(np.float32)
    together = classifier(np.concatenate([dark, bright]))
    assert same(together[0], classifier([dark[0].astype(np.uint8), images[1]])[0])


def test_what_no_scale_fits_has_no_part_in_the_scale(classifier, images):
    dark = (images[:1] > 128).astype(np.float32)
    several = np.concatenate([dark, images[1:4].astype(np.float32)])
    wanted = classifier(several[:3])
    for bad in (np.nan, np.inf, -1, 300):
        spoiled = several.copy()
        spoiled[3, 0, 0] = bad
        answers = classifier(spoiled, on_error="skip")
        assert isinstance(answers[3], Failed) and "picture 3" in answers[3].source
        assert all(same(one, other) for one, other in zip(answers[:3], wanted, strict=True))
        with pytest.raises(SourceError, match="picture 3"):
            classifier(spoiled)


def test_white_a_hair_above_1_is_white(classifier, images):
    wanted = [one.logits for one in classifier(images[:4])]
    almost = images[:4].astype(np.float32) / 255
    almost[almost == almost.max()] = 1.0000001
    given = [one.logits for one in classifier(almost)]
    np.testing.assert_array_equal(np.argmax(given, 1), np.argmax(wanted, 1))
    np.testing.assert_allclose(given, wanted, atol=0.2)
    for unclear in (images[:4] / 200, images[0] / 200):
        with pytest.raises(SourceError, match="floats up to 1.27"):
            classifier(unclear * (1.275 / unclear.max()))


def test_a_source_may_use_one_buffer_for_all(classifier, images, tmp_path, whole_batches):
    wanted = [one.logits for one in classifier(images)]
    # To memory that is written anew for each picture, arrays and bytes lie alike.
    files = [encode_png(one) for one in images]
    room = max(map(len, files))

    def arrays():
        buffer = np.empty_like(images[0])
        for one in images:
            buffer[:] = one
            yield buffer

    def views():
        buffer = bytearray(room)
        for one in files:
            buffer[: len(one)] = one
            yield memoryview(buffer)[: len(one)]

    first, *others = [Image.fromarray(one[..., 0]) for one in images]
    first.save(tmp_path / "pages.tiff", save_all=True, append_images=others)

    def frames():
        with Image.open(tmp_path / "pages.tiff") as pages:
            yield from ImageSequence.Iterator(pages)

    for source in (arrays, views, frames):
        given = [one.logits for one in classifier.predict_many(source())]
        np.testing.assert_array_equal(given, wanted)


def test_one_opened_file_several_times(classifier, images, tmp_path):
    large = np.kron(images[0][..., 0], np.ones((40, 40), np.uint8))
    Image.fromarray(large).save(tmp_path / "large.png")
    wanted = classifier([tmp_path / "large.png"] * 8)
    with Image.open(tmp_path / "large.png") as opened:
        assert all(map(same, classifier([opened] * 8), wanted))


def test_nothing_gives_nothing(classifier):
    assert classifier([]) == [] and classifier(np.zeros((0, 28, 28), np.uint8)) == []


def test_flat_pictures_are_not_misread_as_one(classifier, images):
    flat = images.reshape(60, 784)
    with pytest.raises(SourceError, match=r"60 flat pictures of 28×28.*reshape\(-1, 28, 28\)"):
        classifier(flat)
    assert len(classifier(flat.reshape(-1, 28, 28))) == 60
    assert isinstance(classifier(flat[..., None]), Prediction)


def test_exif_turn_of_a_pillow_image_is_that_of_its_file(classifier, images, tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(images[0][..., 0]).save(tmp_path / "turned.png", exif=turned)
    with Image.open(tmp_path / "turned.png") as opened:
        assert same(classifier(opened), classifier(tmp_path / "turned.png"))
    assert not same(classifier(tmp_path / "turned.png"), classifier(images[0]))


@pytest.mark.parametrize(("bits", "colour", "row", "key"), [(2, 0, b"\x1b", b"\0\x01"), (4, 0, b"\x05\xf0", b"\0\x05")])
def test_a_transparent_colour_of_a_pillow_image_is_that_of_its_file(classifier, tmp_path, bits, colour, row, key):
    """Pillow spreads the pixels over 0..255 and leaves the colour as the file has it."""
    header = struct.pack(">IIBBBBB", 4, 1, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"tRNS", key), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    path = tmp_path / "key.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    )
    with Image.open(path) as opened:
        assert same(classifier(opened), classifier(path))
        assert opened.info["transparency"] == key[1], "the caller's image stays as it is"


def test_the_temperature_divides_the_logits(tmp_path, images, classifier):
    warm = Classifier(write(tmp_path / "bundle", temperature=3.0), device="cpu")
    one, other = classifier(images[0]), warm(images[0])
    np.testing.assert_array_equal(one.logits, other.logits)
    assert other.probability == pytest.approx(softmax(one.logits / 3).max())
    assert other.probability < one.probability and other.label == one.label


def test_a_run_folder_or_its_bundle(folder):
    assert Classifier(folder.parent, device="cpu").path == folder


def test_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="does not exist"):
        Classifier(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="holds no bundle"):
        Classifier(tmp_path)


def test_answers_come_when_no_more_pictures_do(classifier, images, monkeypatch) -> None:
    seen: list[object] = []

    def by_and_by():
        for number in range(3):
            yield images[number]
            yield Pause()
            assert len(seen) == number + 1  # before the next one is there

    for one in classifier.predict_many(by_and_by()):
        seen.append(one)
    assert [one.source for one in seen] == ["picture 0", "picture 1", "picture 2"]

    monkeypatch.setattr("deeper.prediction.classifier._SLOW", 0.02)
    told: list[str] = []

    def slowly():
        for number in range(3):
            told.append(f"asked {number}")
            time.sleep(0.05)
            yield images[number]

    answers = []
    for one in classifier.predict_many(slowly()):
        told.append(f"answered {len(answers)}")
        answers.append(one)
    assert told == [f"{what} {number}" for number in range(3) for what in ("asked", "answered")]
    assert same(answers[2], classifier(images[2]))


def test_names_that_numpy_holds(classifier, images, tmp_path):
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(png(images[number]))
    names = np.array([str(tmp_path / "0.png"), str(tmp_path / "1.png")])
    assert same(classifier(names[0]), classifier(images[0]))
    kinds = np.empty(2, object)
    kinds[:] = [images[0], str(names[1])]
    for given in (names, list(names), names.astype(object), tuple(names), kinds):
        assert [one.label for one in classifier(given)] == [one.label for one in classifier(images[:2])]
    assert [one.source for one in classifier.predict_many(names)] == names.tolist()
    assert same(classifier(np.bytes_(png(images[3]))), classifier(images[3]))


def test_an_opened_file_is_one_picture(classifier, images, tmp_path) -> None:
    """It is an iterable too, of its lines."""
    (tmp_path / "a.png").write_bytes(png(images[0]))
    with open(tmp_path / "a.png", "rb") as file:
        assert same(classifier(file), classifier(images[0]))
    assert same(classifier(io.BytesIO(png(images[0]))), classifier(images[0]))
    assert same(classifier([io.BytesIO(png(images[0]))])[0], classifier(images[0]))


def test_predict_many_takes_several(classifier, images, tmp_path) -> None:
    dark = images[:2] / 255
    dark[0] *= 0.001
    for given in (images[:2], dark):
        many = list(classifier.predict_many(given))
        assert all(same(one, other) for one, other in zip(many, classifier(given), strict=True))
    for given in ("photo.jpg", tmp_path, b"\xff\xd8", images[0]):
        with pytest.raises(UsageError, match="several pictures"):
            classifier.predict_many(given)


def test_channels_first_for_a_colour_network_is_asked_about(tmp_path) -> None:
    architecture = replace(ARCHITECTURE, channels=3)
    changes = {"architecture": architecture, "weights": create(architecture).state_dict()}
    fit = replace(PREPROCESS, channels=3)
    pictures = np.zeros((2, 28, 28, 3), np.uint8)
    classifier = Classifier(write(tmp_path / "bundle", **changes, preprocess=fit, pictures=pictures))
    with pytest.raises(SourceError, match=r"channels first or three grey ones.*transpose\(1, 2, 0\)"):
        classifier(np.zeros((3, 28, 28), np.uint8))
    assert len(classifier(np.zeros((3, 28, 28, 1), np.uint8))) == 3
    # Who says that they are several is not asked, whatever their number.
    assert [len(list(classifier.predict_many(np.zeros((count, 28, 28), np.uint8)))) for count in (2, 3)] == [2, 3]


def test_predict_many_takes_arrays_of_a_file_picture_by_picture(classifier, images) -> None:
    class Lazy:
        """As of h5py: the whole is asked for by nobody."""

        def __array__(self, *given: object, **named: object) -> np.ndarray:
            raise AssertionError

        def __len__(self) -> int:
            return 2

        def __getitem__(self, number: int) -> np.ndarray:
            return images[:2][number]

    assert len(list(classifier.predict_many(Lazy()))) == 2
    assert [one.source for one in classifier.predict_many(np.array("nowhere.png"), on_error="skip")] == ["nowhere.png"]
