from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeper.cli import main
from deeper.models import MODELS


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "--json"])
    rows = json.loads(capsys.readouterr().out)["models"]
    assert [row["name"] for row in rows] == list(MODELS)
    nielsen = rows[0]
    assert nielsen["parameters"] == 2_032_570
    # 25·20·28² + 500·40·10² + 1000² + 1000² + 10·1000
    assert nielsen["multiply_adds"] == 392_000 + 2_000_000 + 1_000_000 + 1_000_000 + 10_000


def test_layer_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "nielsen"])
    out = capsys.readouterr().out
    assert "conv2/convolution" in out and "40×10×10" in out and "2,032,570 parameters" in out


def test_layers_as_json_at_another_size(capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "nielsen", "--size", "40", "--channels", "3", "--classes", "5", "--json"])
    plain = json.loads(capsys.readouterr().out)
    assert plain["architecture"]["channels"] == 3
    assert plain["layers"][-1]["shape"] == [5]


def test_drawing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "inception_v1.svg"
    main(["models", "inception_v1", "--out", str(path)])
    assert capsys.readouterr().out.startswith(f"{path}: 18 blocks, 2 auxiliary heads, 12,997,352 parameters")
    assert "Mixed_4b" in path.read_text("utf-8")
    main(["models", "nielsen", "--out", str(tmp_path / "nielsen.png"), "--json"])
    plain = json.loads(capsys.readouterr().out)
    assert [block["name"] for block in plain["blocks"]] == [
        "conv1",
        "pool1",
        "conv2",
        "pool2",
        "full1",
        "full2",
        "logits",
    ]
    assert plain["blocks"][0]["operations"][0]["kernel"] == [5, 5] and plain["drawing"].endswith("nielsen.png")
    assert sum(block["parameters"] for block in plain["blocks"]) == plain["parameters"] == 2_032_570


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "all.svg"], "name the network to draw"),
        (["nielsen", "--out", "nielsen.gif"], "ends in .svg, .pdf or .png"),
        (["nielsne"], "did you mean 'nielsen'"),
        (["nielsen", "--size", "9"], "smallest input is 12×12"),
        (["a:B"], "--size"),
    ],
)
def test_bad_input_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["models", *words])
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize("columns", [None, "80"])
def test_no_scope_is_cut(
    columns: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipe, and in a narrow terminal, where long scopes are folded."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "dumb")  # no control characters
    main(["models", "inception_v3"])
    out = capsys.readouterr().out
    assert "…" not in out
    scope = "Mixed_7c/Branch_1/Conv2d_0b_1x3/convolution"
    assert (scope in out) is (columns is None)
    if columns is not None:
        assert max(map(len, out.splitlines())) <= int(columns)
        folded = "".join(line.split(" ")[1] for line in out.splitlines() if line.startswith(" "))
        assert scope in folded


def test_auxiliary_heads_are_in_the_table_and_not_in_the_sum(capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "inception_v3", "--json"])
    plain = json.loads(capsys.readouterr().out)
    scopes = [layer["scope"] for layer in plain["layers"]]
    heads = [number for number, scope in enumerate(scopes) if scope.startswith("AuxLogits/")]
    assert scopes[heads[0] - 1].startswith("Mixed_6e/") and scopes[heads[-1] + 1].startswith("Mixed_7a/")
    assert heads == list(range(heads[0], heads[-1] + 1)) and len(heads) >= 4
    assert sum(layer["parameters"] for layer in plain["layers"]) == plain["parameters"]
    trunk = [layer for layer in plain["layers"] if not layer["scope"].startswith("AuxLogits/")]
    assert sum(layer["multiply_adds"] for layer in trunk) == plain["multiply_adds"]


def test_presets_are_listed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    main(["models"])
    line = next(one for one in capsys.readouterr().out.splitlines() if one.startswith(" inception_v3 "))
    assert "paper, slim, torchvision, timm, keras" in line
