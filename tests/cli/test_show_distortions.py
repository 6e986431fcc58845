"""`deeper show-distortions`, as a person calls it."""

from __future__ import annotations

import pytest
from PIL import Image

from deeper.cli import main
from deeper.errors import UsageError


def test_a_sheet_of_a_dataset(small_dataset, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    main(
        [
            "show-distortions",
            str(small_dataset.path),
            "--distort",
            "horizontal_flip",
            "--pictures",
            "3",
            "--out",
            str(out),
        ]
    )
    assert "3 pictures, 5 distortions" in capsys.readouterr().out
    with Image.open(out) as image:
        assert image.width > 2 * image.height


def test_no_flip_unless_asked_for(small_dataset, tmp_path):
    out = tmp_path / "sheet.svg"
    main(["show-distortions", str(small_dataset.path), "--pictures", "1", "--out", str(out)])
    assert "flip" not in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--distort", "horizontl_flip"], "did you mean 'horizontal_flip'"),
        (["--no-distort", "all"], "nothing to show"),
        (["--no-distort", "elastc"], "has no such distortion"),
        (["--out", "sheet.jpg"], "ends in .svg, .pdf or .png"),
        (["--pictures", "0"], "at least 1"),
    ],
)
def test_what_cannot_be_meant_is_one_line(small_dataset, words, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["show-distortions", str(small_dataset.path), *words])
    assert stopped.value.code == UsageError.exit_code
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
