"""Arrays from Python and `.npz`: what is understood, and every refusal by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeper.errors import SourceError, UsageError
from deeper.records.sources import SourceOptions, open_source

GREY = np.arange(6 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5)
LABELS = [0, 1, 2, 0, 1, 2]


def refused(source: object, *, says: str, options: SourceOptions | None = None) -> str:
    with pytest.raises(SourceError, match=says) as caught:
        open_source(source, options=options or SourceOptions())
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_grey_pictures_keep_their_pixels_ids_and_labels() -> None:
    source = open_source((GREY, LABELS))
    assert source.classes == ("0", "1", "2")
    assert [item.id for item in source.items[:2]] == ["array:000000", "array:000001"]
    assert [item.label for item in source.items] == ["0", "1", "2", "0", "1", "2"]
    assert all(item.split is None and item.path is None for item in source.items)
    for item, picture in zip(source.items, GREY, strict=True):
        np.testing.assert_array_equal(item.array, picture)


def test_colour_and_one_channel_last() -> None:
    for channels in (1, 3):
        pictures = np.zeros((6, 4, 5, channels), np.uint8)
        item = open_source((pictures, LABELS)).items[0]
        assert item.array is not None and item.array.shape == (4, 5, channels)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_from_0_to_1_are_scaled(dtype: type) -> None:
    pictures = np.zeros((2, 2, 2), dtype)
    pictures[1] = 1
    pictures[0, 0, 0] = 0.5
    items = open_source((pictures, [0, 1])).items
    assert items[0].array is not None and items[1].array is not None
    assert items[0].array.tolist() == [[128, 0], [0, 0]]
    assert items[1].array.tolist() == [[255, 255], [255, 255]]


def test_floats_up_to_255_are_read_as_such_and_said() -> None:
    source = open_source((GREY.astype(np.float32), LABELS))
    assert any("read as 0..255" in notice for notice in source.notices)
    np.testing.assert_array_equal(source.items[5].array, GREY[5])


def test_the_scale_is_one_for_all_splits() -> None:
    dark = np.full((2, 2, 2), 0.75, np.float32)
    bright = np.full((2, 2, 2), 200.0, np.float32)
    source = open_source({"train": (bright, [0, 1]), "test": (dark, [0, 1])})
    by_id = {item.id: item.array for item in source.items}
    assert by_id["test/00000"] is not None and by_id["test/00000"].max() == 1
    assert by_id["train/00000"] is not None and by_id["train/00000"].max() == 200


@pytest.mark.parametrize("splits", [("train", "test"), ("test", "train")])
def test_floats_beside_integers_are_refused_whatever_their_range(splits: tuple[str, str]) -> None:
    """0..1 beside 0..255 was read as 0..255 throughout: black pictures, without a word."""
    floats, integers = splits
    for scale in (255, 1):
        mixed = {floats: (GREY / np.float32(scale), LABELS), integers: (GREY, LABELS)}
        refused(mixed, says="some images are floats and others integers; wanted one dtype in all splits")


def test_an_empty_split_is_of_no_dtype() -> None:
    source = open_source({"train": (GREY, LABELS), "test": (np.zeros((0, 4, 5)), np.zeros(0, int))})
    np.testing.assert_array_equal(source.items[5].array, GREY[5])
    assert len(source.items) == 6


def test_bool_and_wide_integers() -> None:
    black_white = np.array([[[True, False]], [[False, True]]])
    item = open_source((black_white, [0, 1])).items[0]
    assert item.array is not None and item.array.tolist() == [[255, 0]]
    item = open_source((GREY.astype(np.int64), LABELS)).items[5]
    np.testing.assert_array_equal(item.array, GREY[5])


def test_a_flat_array_is_refused_with_the_flag_and_taken_with_it() -> None:
    flat = np.zeros((6, 784), np.uint8)
    assert "--shape 28 28" in refused((flat, LABELS), says="flat")
    assert "--shape 32 32 3" in refused((np.zeros((6, 3072), np.uint8), LABELS), says="flat")
    assert "--shape HEIGHT WIDTH" in refused((np.zeros((6, 20), np.uint8), LABELS), says="flat")
    item = open_source((flat, LABELS), options=SourceOptions(shape=(28, 28))).items[0]
    assert item.array is not None and item.array.shape == (28, 28)
    refused((flat, LABELS), options=SourceOptions(shape=(28, 27)), says="not N×28×27")


def test_a_shape_never_shears_pictures() -> None:
    refused((GREY, LABELS), options=SourceOptions(shape=(5, 4)), says="leave it out")
    item = open_source((GREY, LABELS), options=SourceOptions(shape=(4, 5))).items[0]
    np.testing.assert_array_equal(item.array, GREY[0])


@pytest.mark.parametrize(
    ("pictures", "says"),
    [
        (np.full((6, 4, 5), np.nan), "NaN or infinity, first in picture 0"),
        (np.concatenate([np.zeros((5, 4, 5)), np.full((1, 4, 5), np.inf)]), "first in picture 5"),
        (GREY.astype(object), "dtype object"),
        (np.zeros((6, 3, 32, 32), np.uint8), "channels first.*transpose"),
        (np.zeros((6, 8, 8, 4), np.uint8), "alpha"),
        (np.zeros((6, 8, 8, 7), np.uint8), "1 or 3 channels"),
        (np.zeros((6,), np.uint8), "N×H×W"),
        (np.zeros((6, 2, 2, 2, 3), np.uint8), "N×H×W"),
        (np.zeros((6, 0, 5), np.uint8), "at least one pixel"),
        (np.zeros((0, 4, 5), np.uint8), "empty"),
        (GREY.astype(np.float32) / 60 - 1, "from -1 to 0.98.*0.5"),
        (GREY.astype(np.int32) * 200, "16-bit"),
        (GREY.astype(np.complex64), "dtype complex64"),
        (np.full((6, 4, 5), "a"), "dtype <U1"),
        ([np.zeros((2, 2)), np.zeros((3, 3))] * 3, "several sizes"),
        (GREY[:5], "5 images and 6 labels"),
    ],
)
def test_pictures_that_cannot_be_meant(pictures: object, says: str) -> None:
    refused((pictures, LABELS), says=says)


def test_labels_as_names_sort_naturally() -> None:
    source = open_source((GREY, ["10", "9", "b", "a", "10", "9"]))
    assert source.classes == ("9", "10", "a", "b")
    assert [item.label for item in source.items] == ["10", "9", "b", "a", "10", "9"]
    for names in (np.array(["x", "y"] * 3), np.array([b"x", b"y"] * 3), np.array(["x", "y"] * 3, dtype=object)):
        assert open_source((GREY, names)).classes == ("x", "y")


def test_one_hot_rows_and_a_column() -> None:
    one_hot = np.eye(4)[[0, 3, 1, 1, 3, 0]]
    source = open_source((GREY, one_hot))
    assert source.classes == ("0", "1", "2", "3")
    assert [item.label for item in source.items] == ["0", "3", "1", "1", "3", "0"]
    column = open_source((GREY, np.array(LABELS)[:, None]))
    assert [item.label for item in column.items] == ["0", "1", "2", "0", "1", "2"]


def test_class_names_for_indices() -> None:
    source = open_source((GREY, LABELS), options=SourceOptions(classes=("cat", "dog", "owl")))
    assert source.classes == ("cat", "dog", "owl")
    assert source.items[2].label == "owl"
    refused((GREY, LABELS), options=SourceOptions(classes=("cat", "dog")), says="row 2 is 2, out of range.*0..1")


def test_labels_with_gaps_name_their_classes() -> None:
    source = open_source((GREY, [1, 2, 26, 1, 2, 26]))
    assert source.classes == ("1", "2", "26")
    assert source.items[2].label == "26"
    assert any("gaps" in notice for notice in source.notices)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0, 1, 2, -1, 0, 0], "row 3 is -1, out of range"),
        ([0, 1, 2, 2**40, 0, 0], "row 3 is 1099511627776, out of range"),
        ([0, 1, 0.5, 1, 0, 0], "row 2 is 0.5"),
        ([0, 1, np.nan, 1, 0, 0], "row 2 is nan"),
        ([0, 1], "6 images and 2 labels"),
        (np.full((6, 3), 1 / 3), "row 0 .* one-hot"),
        (np.zeros((6, 3)), "row 0 .* one-hot"),
        (np.zeros((6, 3, 3)), "shape"),
        (["a", "b", "", "a", "b", "a"], "row 2 is an empty name"),
        (np.array([0, "a", None, 1, 2, 3], dtype=object), "dtype object"),
        ([[0], [1, 2], [0], [1], [0], [1]], "do not form one array"),
    ],
)
def test_labels_that_cannot_be_meant(labels: object, says: str) -> None:
    refused((GREY, labels), says=says)


def test_splits_from_a_dict() -> None:
    source = open_source({"training": (GREY, LABELS), "val": (GREY[:3], LABELS[:3]), "test": (GREY[:2], LABELS[:2])})
    assert [item.split for item in source.items] == ["train"] * 6 + ["validation"] * 3 + ["test"] * 2
    assert [item.id for item in source.items][5:8] == ["train/00005", "validation/00000", "validation/00001"]
    refused({"trian": (GREY, LABELS)}, says="'trian' is no split")
    refused({"val": (GREY, LABELS), "validation": (GREY, LABELS)}, says="two keys")
    refused({"train": (GREY, LABELS), "test": (GREY, list("aabbcc"))}, says="names in one split")
    refused((GREY, LABELS, LABELS), says=r"\(images, labels\)")


def test_the_fingerprint_follows_pixels_and_labels() -> None:
    first = open_source((GREY, LABELS)).fingerprint()
    assert open_source((GREY.copy(), np.array(LABELS))).fingerprint() == first
    changed = GREY.copy()
    changed[3, 1, 1] += 1
    assert open_source((changed, LABELS)).fingerprint() != first
    assert open_source((GREY, [0, 1, 2, 0, 2, 1])).fingerprint() != first


def test_group_by_needs_to_fit_ids() -> None:
    with pytest.raises(UsageError, match="matches no id.*array:000000"):
        open_source((GREY, LABELS), options=SourceOptions(group_by="(plant[0-9]+)"))
    with pytest.raises(UsageError, match="no regular expression"):
        open_source((GREY, LABELS), options=SourceOptions(group_by="(plant"))
    with pytest.raises(UsageError, match="0 groups"):
        open_source((GREY, LABELS), options=SourceOptions(group_by="plant"))
    source = open_source((GREY, LABELS), options=SourceOptions(group_by="([0-4])$"))
    assert [item.group for item in source.items] == ["0", "1", "2", "3", "4", None]
    assert any("1 pictures on their own" in notice for notice in source.notices)


@pytest.mark.parametrize(
    "shape", [(28,), (28, 0), (28, 28, 2), (1, 2, 3, 4)], ids=["one", "zero", "two channels", "four sizes"]
)
def test_shapes_that_are_no_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="shape"):
        SourceOptions(shape=shape)


# .npz


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("X_train", "Y_train", "X_test", "Y_test"),
    ],
)
def test_npz_with_splits(tmp_path: Path, keys: tuple[str, str, str, str]) -> None:
    path = tmp_path / "mnist.npz"
    np.savez(path, **dict(zip(keys, (GREY, np.array(LABELS), GREY[:2], np.array(LABELS[:2])), strict=True)))
    source = open_source(path)
    assert source.name == "mnist"
    assert [item.id for item in source.items if item.split == "test"] == ["test/00000", "test/00001"]
    assert sum(item.split == "train" for item in source.items) == 6


def test_npz_compressed_with_names_groups_and_something_else(tmp_path: Path) -> None:
    path = tmp_path / "leaves.npz"
    np.savez_compressed(
        path,
        images=GREY,
        labels=np.array(LABELS),
        groups=np.array(["a", "a", "b", "b", "c", "c"]),
        class_names=np.array(["ash", "elm", "oak"]),
        weights=np.ones(6),
    )
    source = open_source(str(path))
    assert source.classes == ("ash", "elm", "oak")
    assert [item.group for item in source.items] == ["a", "a", "b", "b", "c", "c"]
    assert any("'weights'" in notice for notice in source.notices)


@pytest.mark.parametrize("dtype", ["U", "S"])
def test_empty_groups_of_an_npz_are_none(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "leaves.npz"
    np.savez(path, images=GREY, labels=np.array(LABELS), groups=np.array(["a", "", "a", "", " ", "b"]).astype(dtype))
    source = open_source(path)
    assert [item.group for item in source.items] == ["a", None, "a", None, None, "b"]
    assert "3 pictures have an empty group: each of them is on its own" in source.notices


def test_what_group_by_says_counts_more_than_the_groups_of_an_npz(tmp_path: Path) -> None:
    path = tmp_path / "leaves.npz"
    np.savez(path, images=GREY, labels=np.array(LABELS), groups=np.array(["a"] * 6))
    source = open_source(path, options=SourceOptions(group_by="([0-9])$"))
    assert [item.group for item in source.items] == list("012345")
    assert "groups of the file are not used: --group-by '([0-9])$' groups the pictures" in source.notices
    with pytest.raises(UsageError, match="matches no id"):
        open_source(path, options=SourceOptions(group_by="(plant)"))


def test_npz_that_cannot_be_read(tmp_path: Path) -> None:
    """The file is there, and reading its first byte fails, for root too."""
    (tmp_path / "some.npz").symlink_to("/proc/self/mem")
    refused(tmp_path / "some.npz", says="some.npz' cannot be read .*permissions")


def test_npz_with_names_as_bytes(tmp_path: Path) -> None:
    path = tmp_path / "leaves.npz"
    names = np.array([b"ash", "frêne".encode(), b"oak"])
    np.savez(path, images=GREY, labels=np.array(LABELS), class_names=names)
    assert open_source(path).classes == ("ash", "frêne", "oak")
    np.savez(path, images=GREY, labels=np.array(LABELS), class_names=np.array([b"ash", b"\xff", b"oak"]))
    refused(path, says="leaves.npz: 'class_names' are bytes that are no UTF-8")


def test_npz_with_a_name_twice_is_refused_for_that(tmp_path: Path) -> None:
    path = tmp_path / "leaves.npz"
    np.savez(path, images=GREY, labels=np.array(LABELS), class_names=np.array(["ash", "oak", "ash"]))
    with pytest.raises(UsageError, match="a class name stands twice"):
        open_source(path)


def test_npz_that_cannot_be_used(tmp_path: Path) -> None:
    def written(**arrays: np.ndarray) -> Path:
        path = tmp_path / "some.npz"
        np.savez(path, **arrays)
        return path

    labels = np.array(LABELS)
    refused(written(images=GREY.astype(object), labels=labels), says="'images' holds Python objects")
    refused(written(images=GREY), says="no labels")
    refused(written(x_train=GREY, y_train=labels, x_test=GREY), says="no labels for test")
    refused(written(foo=GREY, bar=labels), says="'foo', 'bar'.*wanted images and labels")
    refused(written(images=GREY, x=GREY, labels=labels), says="mean the same")
    sound = written(images=GREY, labels=labels).read_bytes()
    cut = tmp_path / "cut.npz"
    cut.write_bytes(sound[: len(sound) // 2])
    refused(cut, says="cut.npz")
    position = sound.index(GREY.tobytes())
    cut.write_bytes(sound[:position] + b"\xff" + sound[position + 1 :])
    refused(cut, says="'images' is damaged")
    (tmp_path / "text.npz").write_text("hello")
    refused(tmp_path / "text.npz", says="no sound .npz")
    np.save(tmp_path / "one.npy", GREY)
    refused(tmp_path / "one.npy", says="images and labels")
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    refused(tmp_path / "one.npz", says="holds one array")


@pytest.mark.parametrize("source", ["digits", "folder", "table.csv"])
def test_a_shape_is_refused_where_pictures_have_their_own(source: str) -> None:
    with pytest.raises(UsageError, match="leave it out"):
        open_source(source, options=SourceOptions(shape=(28, 28)))


def test_white_a_hair_above_1_is_white_and_what_may_mean_both_is_refused() -> None:
    pictures = np.zeros((2, 4, 4), np.float32)
    pictures[0] = 1.0000001
    source = open_source((pictures, [0, 1]))
    first = source.items[0].array
    assert first is not None and first.min() == 255
    assert any("read as 0..1" in notice for notice in source.notices)
    with pytest.raises(SourceError, match="may mean 0..1 or 0..255; clip"):
        open_source((pictures * 1.5, [0, 1])).items  # noqa: B018


def test_one_spelling_of_each_letter_in_names(tmp_path: Path) -> None:
    """As in folders and tables: composed and decomposed letters look the same and are."""
    source = open_source((np.zeros((3, 8, 8), np.uint8), ["caf\u00e9", "cafe\u0301", "tea"]))
    assert source.classes == ("caf\u00e9", "tea")
    # Names of classes beside the labels are spelled as those in them, and as folders that are added later.
    named = open_source((np.zeros((2, 8, 8), np.uint8), [0, 1]), options=SourceOptions(classes=("cafe\u0301", " tea ")))
    assert named.classes == ("caf\u00e9", "tea")
    both = SourceOptions(classes=("cafe\u0301", " tea"))
    assert open_source((np.zeros((2, 8, 8), np.uint8), ["cafe\u0301", " tea"]), options=both).classes == named.classes
    with pytest.raises(SourceError, match="class names occur twice: 'caf"):
        open_source((np.zeros((1, 8, 8), np.uint8), [0]), options=SourceOptions(classes=("caf\u00e9", "cafe\u0301")))


@pytest.mark.parametrize("labels", [[0, 1], ["a", "b"], np.eye(2)])
def test_a_split_without_pictures_has_no_kind_of_label(labels: object) -> None:
    pixels = np.zeros((2, 8, 8), np.uint8)
    source = open_source({"train": (pixels, labels), "test": (pixels[:0], [])})
    assert [item.split for item in source.items] == ["train", "train"] and len(source.classes) == 2


def test_an_empty_text_is_no_source() -> None:
    with pytest.raises(SourceError, match=r"empty text, as of a variable that is not set; \. is this folder"):
        open_source("")
