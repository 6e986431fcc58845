from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deeper.errors import UsageError
from deeper.models import Architecture, Output, create, set_noise
from deeper.training.fine_tuning import blocks

SOURCE = """
import torch
from torch import nn

class Plain(nn.Module):
    def __init__(self, classes, channels, hidden=6):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.LazyLinear(hidden), nn.ReLU())
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        return self.head(self.body(x))

class Auxiliary(Plain):
    def forward(self, x):
        y = self.body(x)
        return self.head(y), 2 * self.head(y)

class AuxiliaryLast(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU())
        self.head, self.aux = nn.Linear(5, classes), nn.Linear(5, classes)

    def forward(self, x):
        y = self.body(x)
        return (self.head(y), self.aux(y)) if self.training else self.head(y)

class LogSoftmax(AuxiliaryLast):
    # Both run; the logits are made of the first, which runs last.
    def forward(self, x):
        y = self.body(x)
        self.aux(y)
        return torch.log_softmax(self.head(y), 1)

class ConvolutionHead(nn.Module):
    # A gate is as wide as there are classes.
    def __init__(self, classes):
        super().__init__()
        self.gate = nn.Linear(1, classes)
        self.last = nn.Conv2d(1, classes, 8)

    def forward(self, x):
        gate = self.gate(x.mean((2, 3)))
        return self.last(x).flatten(1) * gate.sigmoid()

class Reversed(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first, self.body = nn.Linear(5, classes), nn.Linear(64, 5)

    def forward(self, x):
        return self.first(self.body(x.flatten(1)))

class TokensLast(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head, self.body, self.tokens = nn.Linear(5, classes), nn.Linear(64, 5), nn.Linear(8, classes)

    def forward(self, x):
        return self.head(self.body(x.flatten(1)) + self.tokens(x[:, 0]).mean((1, 2))[:, None])

class Doubling(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(16, classes)

    def forward(self, x):
        return self.head(x.reshape(-1, 16))

class WrongOutput(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(64, 7)

    def forward(self, x):
        from deeper.models import Output
        y = x.flatten(1)
        return Output(self.head(y), (), y)

class Bare(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.weights = nn.Parameter(torch.ones(classes))

    def forward(self, x):
        return x.mean((1, 2, 3))[:, None] * self.weights

class WrongShape(Bare):
    def forward(self, x):
        return x

class Nothing(Bare):
    def forward(self, x):
        return {"logits": x}

class Picky(Bare):
    def forward(self, x):
        return x @ torch.zeros(9, 3)

class Open(Bare):
    def __init__(self, **sizes):
        super().__init__(sizes["classes"])

class Broken(Bare):
    def __init__(self, classes):
        raise RuntimeError("no such luck")

def build(classes):
    return Bare(classes)

class NoModule:
    def __init__(self, classes):
        raise SystemExit("must never be called")

number = 3
"""


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user_nets.py").write_text(SOURCE)
    (tmp_path / "user_broken.py").write_text("import no_such_package_anywhere")
    monkeypatch.chdir(tmp_path)


def make(name: str, **arguments: object) -> torch.nn.Module:
    return create(Architecture(model=name, classes=3, channels=1, height=8, width=8, arguments=arguments))


IMAGES = torch.linspace(-1, 1, 2 * 64).reshape(2, 1, 8, 8)


def test_plain_module_from_the_working_directory() -> None:
    model = make("user_nets:Plain", hidden=5).eval()
    output = model(IMAGES)
    assert isinstance(output, Output)
    assert output.logits.shape == (2, 3) and output.aux == () and output.features.shape == (2, 5)
    assert torch.allclose(model.module.head(output.features), output.logits)
    set_noise(model, 0, 0)


def test_tuples_become_auxiliary_logits_in_training_only() -> None:
    model = make("user_nets:Auxiliary")
    trained = model.train()(IMAGES)
    assert len(trained.aux) == 1 and torch.allclose(trained.aux[0], 2 * trained.logits)
    assert model.eval()(IMAGES).aux == ()


def test_without_a_linear_head_features_are_the_logits() -> None:
    output = make("user_nets:Bare")(IMAGES)
    assert torch.equal(output.features, output.logits)


def test_class_with_open_arguments() -> None:
    assert make("user_nets:Open")(IMAGES).logits.shape == (2, 3)


def test_state_dict_comes_back() -> None:
    one, other = make("user_nets:Plain"), make("user_nets:Plain")
    one(IMAGES), other(IMAGES)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(IMAGES).logits, other(IMAGES).logits)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("user_nets:Plian", "user_nets has no 'Plian'; did you mean 'Plain'"),
        ("user_nets:number", "is a int; wanted a class derived from torch.nn.Module"),
        ("user_nets:build", "is a function; wanted a class derived from torch.nn.Module"),
        ("subprocess:Popen", "is Popen; wanted a class derived from torch.nn.Module"),
        ("user_nets:", "is no import path; wanted package.module:Class"),
        (":Plain", "is no import path"),
        ("user_missing:Net", "importing user_missing failed: ModuleNotFoundError"),
        ("user_broken:Net", "importing user_broken failed: ModuleNotFoundError"),
        ("user_nets:Broken", r"user_nets:Broken\(classes=3\) failed: RuntimeError: no such luck"),
        ("user_nets:NoModule", "is NoModule; wanted a class derived from torch.nn.Module"),
    ],
)
def test_clear_errors_when_building(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(name)


def test_unknown_argument_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="takes no argument 'hiden'; did you mean 'hidden'"):
        make("user_nets:Plain", hiden=4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("user_nets:WrongShape", "returned a tensor of 1 × 1 × 8 × 8; wanted logits of N × 3 classes"),
        ("user_nets:Nothing", "returned dict; wanted a tensor of logits"),
        ("user_nets:Picky", "cannot take 1 × 1 × 8 × 8: RuntimeError"),
    ],
)
def test_clear_errors_when_running(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(name)


def test_lazy_layers_have_their_shapes_before_training() -> None:
    assert all(weight.numel() > 0 for weight in make("user_nets:Plain").parameters())


def test_the_head_is_the_layer_that_gives_the_logits_whatever_the_order() -> None:
    model = make("user_nets:AuxiliaryLast").eval()
    assert model.head is model.module.head
    output = model(IMAGES)
    assert output.features.shape == (2, 5), "what the head takes, not the logits"
    assert [block.name for block in blocks(model) if block.head] == ["module.head"]
    assert len(model.train()(IMAGES).aux) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("user_nets:Doubling", "made 4 answers and 4 rows of features of 1 × 1 × 8 × 8; wanted one of each"),
        ("user_nets:WrongOutput", "returned a tensor of 1 × 7; wanted logits of N × 3 classes"),
        ("user_scripts:Net", 'importing user_scripts failed: SystemExit: 2; .*if __name__ == "__main__":'),
        ("user_nets.py:Plain", "wanted a module's name, not its file's: user_nets:Plain"),
    ],
)
def test_what_a_network_does_otherwise_is_told_before_training(name: str, message: str) -> None:
    Path("user_scripts.py").write_text("raise SystemExit(2)")
    with pytest.raises(UsageError, match=message):
        make(name)


@pytest.mark.parametrize(
    ("name", "head", "features"),
    [("user_nets:LogSoftmax", None, 5), ("user_nets:ConvolutionHead", None, 3), ("user_nets:Reversed", "first", 5)],
)
def test_where_no_layer_gives_the_logits_nothing_is_guessed(name: str, head: str | None, features: int) -> None:
    model = make(name).eval()
    assert model.head is (getattr(model.module, head) if head else None)
    assert model(IMAGES).features.shape == (2, features)


def test_a_layer_that_comes_last_and_runs_on_tokens_is_no_head() -> None:
    model = make("user_nets:TokensLast").eval()
    assert model.head is model.module.head and model(IMAGES).features.shape == (2, 5)
