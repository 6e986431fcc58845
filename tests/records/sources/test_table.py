"""Tables: encodings, delimiters, headers, and every bad row named with its line."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from deeper.errors import SourceError, UsageError
from deeper.records.sources import Listing, SourceOptions, open_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    for name in ("a/1.jpg", "a/2.jpg", "b 3.jpg", "b/ü.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def table(folder: Path, text: str | bytes, name: str = "list.csv", group_by: str | None = None) -> Listing:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return open_source(path, options=SourceOptions(group_by=group_by))


def rows(source: Listing) -> list[tuple[str, str]]:
    return [(item.id, item.label) for item in source.items]


FOUR = [("a/1.jpg", "cat"), ("a/2.jpg", "dog"), ("b 3.jpg", "cat"), ("b/ü.jpg", "dog")]
PLAIN = "path,label\na/1.jpg,cat\na/2.jpg,dog\nb 3.jpg,cat\nb/ü.jpg,dog\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (PLAIN, "list.csv"),
        (PLAIN.replace(",", ";"), "list.csv"),
        (PLAIN.replace(",", "\t"), "list.csv"),
        (PLAIN.replace(",", "\t"), "list.tsv"),
        (PLAIN, "list.tsv"),
        (PLAIN.replace("\n", "\r\n"), "list.csv"),
        ("\ufeff" + PLAIN, "list.csv"),
        (PLAIN.encode("utf-16"), "list.csv"),
        (PLAIN.replace("path,label", "File Name, Class"), "list.csv"),
        ("\n\n" + PLAIN + "\n,\n", "list.csv"),
        (PLAIN.partition("\n")[2], "list.csv"),
        (PLAIN.partition("\n")[2].replace(",", ";"), "list.txt"),
        ("label,path\n" + "".join(f'"{label}","{path}"\n' for path, label in FOUR), "list.csv"),
        (PLAIN.replace("a/1.jpg", "./a/../a/1.jpg"), "list.csv"),
        (PLAIN.replace("a/2.jpg", "a\\2.jpg"), "list.csv"),
    ],
)
def test_one_table_in_many_forms(folder: Path, text: str | bytes, name: str) -> None:
    source = table(folder, text, name)
    assert rows(source) == FOUR
    assert source.classes == ("cat", "dog") and list(source.rejected) == []
    assert all(item.path is not None and Path(item.path).read_bytes() == item.id.encode() for item in source.items)


def test_what_was_guessed_is_said(folder: Path) -> None:
    source = table(folder, PLAIN.partition("\n")[2].replace(",", ";"))
    assert "no header: columns read as path, label, with semicolon as delimiter" in source.notices
    assert "read with tab as delimiter" in table(folder, PLAIN.replace(",", "\t")).notices


def test_quoted_cells_hold_anything(folder: Path) -> None:
    (folder / 'a,"b"\nc.jpg').write_bytes(b"x")
    source = table(folder, 'path,label\n"a,""b""\nc.jpg","cat, big"\na/1.jpg,dog\nnone.jpg,dog\n')
    assert rows(source) == [('a,"b"\nc.jpg', "cat, big"), ("a/1.jpg", "dog")]
    assert source.rejected[0].reason.startswith("line 5:")


def test_splits_and_groups(folder: Path) -> None:
    source = table(
        folder,
        "path,label,split,group,camera\na/1.jpg,cat,Training,p1,x\na/2.jpg,cat,val,p1,y\nb 3.jpg,dog,test,p2,x\n"
        "b/ü.jpg,dog,,,y\n",
    )
    assert [item.split for item in source.items] == ["train", "validation", "test", None]
    assert [item.group for item in source.items] == ["p1", "p1", "p2", None]
    said = "\n".join(source.notices)
    assert "columns not used: 'camera'" in said and "1 of 4 rows leave the split empty" in said
    assert "'group' stay in one split" in said


def test_group_by_a_column_a_pattern_or_the_folder(folder: Path) -> None:
    text = "path,label,Camera\na/1.jpg,cat,x\na/2.jpg,cat,y\nb 3.jpg,dog,x\n"
    assert [item.group for item in table(folder, text, group_by="camera").items] == ["x", "y", "x"]
    assert [item.group for item in table(folder, text, group_by="folder").items] == ["a", "a", None]
    assert [item.group for item in table(folder, text, group_by="([0-9])").items] == ["1", "2", "3"]
    with pytest.raises(UsageError, match="no such column; did you mean 'Camera'"):
        table(folder, text, group_by="camra")


def test_every_bad_row_is_named_and_the_counts_add_up(folder: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")
    text = (
        "path,label,split\n"  # 1
        "a/1.jpg,cat,train\n"  # 2
        "none.jpg,cat,train\n"  # 3
        "a/2.jpg,,train\n"  # 4
        ",cat,train\n"  # 5
        "b 3.jpg,dog,trian\n"  # 6
        "pipe.jpg,dog,train\n"  # 7
        "a,dog,train\n"  # 8
        "a/1.jpg,cat,train\n"  # 9: again
        "b/ü.jpg,dog,train\n"  # 10: two labels
        "./b/ü.jpg,cat,train\n"  # 11
        "a/2.jpg\n"  # 12: cells missing
    )
    source = table(folder, text)
    assert rows(source) == [("a/1.jpg", "cat")]
    assert len(source.items) + len(source.rejected) == 11
    found = [f"{rejected.id}: {rejected.reason}" for rejected in source.rejected]
    for expected in (
        "none.jpg: line 3: No such file",
        "a/2.jpg: line 4: no label",
        "line 5: no path",
        "b 3.jpg: line 6: 'trian' is no split; known: train,",
        "pipe.jpg: line 7: a FIFO",
        "a: line 8: a folder",
        "a/1.jpg: line 9: listed before in line 2",
        "b/ü.jpg: listed with several labels, 'cat', 'dog' (lines 10, 11)",
        "a/2.jpg: line 12: no label",
    ):
        assert any(line.startswith(expected) for line in found), expected
    assert sum("several labels" in line for line in found) == 2


def test_one_picture_in_two_splits_is_refused(folder: Path) -> None:
    source = table(folder, "path,label,split\na/1.jpg,cat,train\na/1.jpg,cat,test\na/2.jpg,dog,train\n")
    assert rows(source) == [("a/2.jpg", "dog")]
    assert all("several splits, 'test', 'train'" in rejected.reason for rejected in source.rejected)


def test_paths_out_of_the_folder_and_absolute_ones_get_ids_relative_to_the_table(folder: Path) -> None:
    (folder / "lists").mkdir()
    absolute = (folder / "a" / "2.jpg").resolve()
    source = table(folder / "lists", f"path,label\n../a/1.jpg,cat\n{absolute},dog\n")
    assert rows(source) == [("../a/1.jpg", "cat"), ("../a/2.jpg", "dog")]
    assert all(item.path is not None and Path(item.path).is_file() for item in source.items)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("name,kind\na/1.jpg,cat\n", "begins with 'name', 'kind'; wanted a header with path and label"),
        ("none.jpg,cat\na/1.jpg,dog\n", "begins with 'none.jpg', 'cat'; wanted a header"),
        ("a/1.jpg\na/2.jpg\n", "wanted a header"),
        ("path,label\n", r"lists no usable picture \(0 rows\)"),
        ("path,label\nx.jpg,cat\ny.jpg,dog\n", r"no usable picture \(2 rows\); first: x.jpg: line 2: No such file"),
        ('path,label\na/1.jpg,cat\n"a/2.jpg,dog\n', "line 3: .*double quotes"),
        (b"path,label\na/1.jpg,c\0t\n", "holds zero bytes"),
        (b"\xff\xfea", "begins like UTF-16 and is not"),
        ("path,label,label\na/1.jpg,cat,dog\n", "two columns 'label'"),
    ],
)
def test_tables_that_cannot_be_read(folder: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(SourceError, match=says) as caught:
        table(folder, text)
    assert "\n" not in str(caught.value)


def test_a_table_that_cannot_be_read(folder: Path) -> None:
    (folder / "list.csv").symlink_to("/proc/self/mem")  # the file is there, and reading its first byte fails
    with pytest.raises(SourceError, match="list.csv' cannot be read .*permissions"):
        open_source(folder / "list.csv")


def test_names_of_classes_are_no_option_of_a_table(folder: Path) -> None:
    (folder / "list.csv").write_text(PLAIN)
    with pytest.raises(UsageError, match="classes are for arrays.*list.csv' names its classes itself"):
        open_source(folder / "list.csv", options=SourceOptions(classes=("cat", "dog")))


def test_text_that_is_no_utf_8(folder: Path) -> None:
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    source = table(folder, b"path,label\ncaf\xe9.jpg,cr\xe8me\na/1.jpg,cat\n")
    assert rows(source) == [(r"caf\xe9.jpg", r"cr\xe8me"), ("a/1.jpg", "cat")]
    assert any("line 2 is not UTF-8" in notice for notice in source.notices)
    assert source.items[0].path is not None and Path(source.items[0].path).is_file()


def test_the_fingerprint_follows_labels_and_files(folder: Path) -> None:
    first = table(folder, PLAIN).fingerprint()
    assert table(folder, PLAIN.replace(",", ";")).fingerprint() == first
    assert table(folder, PLAIN.replace("2.jpg,dog", "2.jpg,cat")).fingerprint() != first
    (folder / "a" / "1.jpg").write_bytes(b"another picture")
    assert table(folder, PLAIN).fingerprint() != first


def test_a_comma_without_quotes_makes_no_other_class(folder: Path) -> None:
    """Cut off at the comma, "rose, red" and "rose, white" would both have become "rose"."""
    source = table(folder, 'path,label\na/1.jpg,rose, red\na/2.jpg,"rose, white"\nb 3.jpg,cat,\nb/ü.jpg,dog\n')
    assert rows(source) == [("a/2.jpg", "rose, white"), ("b 3.jpg", "cat"), ("b/ü.jpg", "dog")]
    (bad,) = source.rejected
    assert bad.id == "a/1.jpg" and "line 2: 3 cells where the table has 2 columns" in bad.reason
    with pytest.raises(SourceError, match="put text with commas in double quotes"):
        table(folder, "a/1.jpg,rose\na/2.jpg,rose, red\n".replace("a/1.jpg,rose\n", "path,label\n"))


def test_a_class_without_a_usable_picture_is_named(folder: Path) -> None:
    source = table(folder, PLAIN + "nowhere.jpg,owl\n")
    assert source.classes == ("cat", "dog")
    assert any("no usable picture of 'owl': left out of the classes" in notice for notice in source.notices)


def test_one_picture_in_two_groups_is_refused(folder: Path) -> None:
    source = table(folder, "path,label,group\na/1.jpg,cat,x\na/1.jpg,cat,y\na/2.jpg,dog,x\n")
    assert rows(source) == [("a/2.jpg", "dog")]
    assert [one.reason for one in source.rejected] == ["listed in several groups (lines 2, 3)"] * 2


@pytest.mark.parametrize(("on_disk", "written"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_name_is_found_in_either_form_of_its_letters(folder: Path, on_disk: str, written: str) -> None:
    """A table in one form, of files that a Mac wrote in the other; on screen they are the same."""
    name = "th\u00e9/caf\u00e9.jpg"
    path = folder / unicodedata.normalize(on_disk, name)
    path.parent.mkdir()
    path.write_bytes(b"x")
    source = table(folder, f"path,label\n{unicodedata.normalize(written, name)},cat\n")
    assert rows(source) == [(name, "cat")] and source.items[0].path == path


def test_the_column_that_groups_is_used(folder: Path) -> None:
    text = "path,label,patient,note\na/1.jpg,cat,p1,x\na/2.jpg,dog,p2,y\n"
    assert list(table(folder, text, group_by="patient").notices) == ["columns not used: 'note'"]
    assert list(table(folder, text).notices) == ["columns not used: 'patient', 'note'"]


def test_groups_are_said_to_stay_together_where_splits_are_drawn(folder: Path) -> None:
    text = "path,label,split,group\na/1.jpg,cat,train,g\na/2.jpg,dog,test,g\n"
    assert not any("stay in one split" in notice for notice in table(folder, text).notices)
    drawn = text.replace(",train", ",").replace(",test", ",")
    assert any("stay in one split" in notice for notice in table(folder, drawn).notices)
