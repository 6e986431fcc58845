from __future__ import annotations

import json

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


@pytest.mark.parametrize(
    ("words", "message"),
    [
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
