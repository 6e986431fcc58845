"""Event files, read back by TensorBoard's own reader."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.plugins.hparams import plugin_data_pb2
from torch import nn

from deeper.errors import StorageError
from deeper.models.custom import Wrapped
from deeper.monitor import tensorboard as module
from deeper.monitor import validated
from deeper.monitor.tensorboard import TensorBoard
from deeper.training.events import CheckpointDue
from tests.monitor.sample_training import SmallNet, squares, train

CLASSES = ("dark", "grey\tish", "bright")


def write(
    folder: Path, steps: int = 40, *, first_step: int = 0, model: nn.Module | None = None, **options: Any
) -> list[str]:
    """Train `model` and write its events; returns the notices."""
    notices: list[str] = []
    board = TensorBoard(folder, options.pop("classes", CLASSES), first_step=first_step, notice=notices.append)
    torch.manual_seed(first_step)
    classes = len(board.classes)
    events = train(
        model=model or SmallNet(classes),
        training=options.pop("training", None) or squares(200, classes),
        validation=options.pop("validation", None) or squares(120, classes, seed=1),
        classes=board.classes,
        steps=steps,
        first_step=first_step,
        **options,
    )
    for event in events:
        board.handle(event)
    board.close()
    board.close()
    return notices


def read(folder: Path) -> EventAccumulator:
    keep_all = {"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}
    accumulator = EventAccumulator(str(folder), size_guidance=keep_all)
    accumulator.Reload()
    return accumulator


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> EventAccumulator:
    # Without budgets every piece comes at every chance.
    folder = tmp_path_factory.mktemp("events")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SHARES", dict.fromkeys(module.SHARES, 1e9))
        assert write(folder) == []
    return read(folder)


def test_scalars(events: EventAccumulator) -> None:
    assert {
        "loss/total",
        "loss/cross_entropy",
        "loss/auxiliary",
        "loss/regularisation",
        "accuracy/train",
        "accuracy/validation",
        "learning_rate",
        "images_per_second",
    } <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss/total")] == list(range(5, 45, 5))
    for number in range(8):
        parts = [
            events.Scalars(f"loss/{name}")[number].value for name in ("cross_entropy", "auxiliary", "regularisation")
        ]
        assert events.Scalars("loss/total")[number].value == pytest.approx(sum(parts), rel=1e-5)
    assert [event.step for event in events.Scalars("accuracy/validation")] == [10, 20, 30, 40]
    assert {event.value for event in events.Scalars("images_per_second")} == {1234.0}


def test_every_layer_has_its_histograms(events: EventAccumulator) -> None:
    model = SmallNet()
    wanted = {}
    for name, parameter in model.named_parameters():
        layer, _, kind = name.rpartition(".")
        path = layer.replace(".", "/")
        group = f"batch_norm/{path}/{'gamma' if kind == 'weight' else 'beta'}" if ".norm" in layer else None
        wanted[group or f"{'weights' if kind == 'weight' else 'biases'}/{path}"] = parameter.numel()
        wanted[f"gradients/{path}/{kind}"] = parameter.numel()
    for block, channels in (("first", 8), ("second", 12)):
        wanted[f"batch_norm/{block}/norm/running_mean"] = channels
        wanted[f"batch_norm/{block}/norm/running_variance"] = channels
        wanted[f"activations/{block}/convolution"] = 32 * channels * 12 * 12
        wanted[f"activations/{block}/norm"] = 32 * channels * 12 * 12
        wanted[f"activations/{block}/activation"] = 32 * channels * 12 * 12
    wanted |= {"activations/hidden": 32 * 16, "activations/hidden/relu": 32 * 16}
    wanted |= {"activations/logits": 32 * 3, "activations/auxiliary": 32 * 3}
    assert set(events.Tags()["histograms"]) == set(wanted)
    for tag, count in wanted.items():
        assert [event.step for event in events.Histograms(tag)] == [1, 11, 21, 31]
        for event in events.Histograms(tag):
            value = event.histogram_value
            assert value.num == count == sum(value.bucket), tag
            assert value.min <= value.sum / value.num <= value.max
    # In place, the rectifier must not have changed what was recorded before it.
    assert events.Histograms("activations/first/norm")[0].histogram_value.min < 0
    assert events.Histograms("activations/first/activation")[0].histogram_value.min == 0


def test_share_of_zeros_behind_each_rectifier(events: EventAccumulator) -> None:
    tags = {tag for tag in events.Tags()["scalars"] if tag.startswith("sparsity/")}
    assert tags == {"sparsity/first/activation", "sparsity/second/activation", "sparsity/hidden/relu"}
    shares = [event.value for tag in tags for event in events.Scalars(tag)]
    assert len(shares) == 12 and all(0 < share < 1 for share in shares)


def test_pictures_decode_and_show_what_they_should(events: EventAccumulator) -> None:
    assert set(events.Tags()["images"]) == {"pictures/training", "pictures/misclassified", "confusion"}
    for tag, count in (("pictures/training", 4), ("pictures/misclassified", 4), ("confusion", 4)):
        shown = events.Images(tag)
        assert len(shown) == count
        picture = np.asarray(Image.open(io.BytesIO(shown[-1].encoded_image_string)))
        assert picture.shape[2] == 3 and min(picture.shape[:2]) > 100 and picture.std() > 10


def test_precision_recall_curves(events: EventAccumulator) -> None:
    tags = [tag for tag in events.Tags()["tensors"] if tag.startswith("precision_recall/")]
    assert sorted(tags) == ["precision_recall/bright", "precision_recall/dark", "precision_recall/grey\\tish"]
    labels = squares(120, 3, seed=1)[1]
    for tag, index in (("precision_recall/dark", 0), ("precision_recall/bright", 2)):
        assert events.SummaryMetadata(tag).plugin_data.plugin_name == "pr_curves"
        for event in events.Tensors(tag):
            curve = np.array(event.tensor_proto.float_val).reshape(6, -1)
            true_positives, false_positives, true_negatives, false_negatives, precision, recall = curve
            assert curve.shape[1] == validated.THRESHOLDS
            # At threshold 0 everything is taken; the four counts add up at each threshold.
            assert true_positives[0] == (labels == index).sum() and recall[0] == 1
            assert ((true_positives + false_positives + true_negatives + false_negatives) == len(labels)).all()
            assert ((precision >= 0) & (precision <= 1)).all()


def test_graph_has_the_scopes_of_the_network(events: EventAccumulator) -> None:
    graph = GraphDef.FromString(events.Graph().SerializeToString())
    names = [node.name for node in graph.node]
    assert len(names) == len(set(names))
    for scope in (
        "first/convolution",
        "first/norm",
        "first/activation",
        "second/convolution",
        "hidden",
        "dropout",
        "auxiliary",
    ):
        assert any(name.startswith(f"SmallNet/{scope}/") for name in names), scope
    nodes = {node.name: node for node in graph.node}
    assert all(source in nodes for node in graph.node for source in node.input)
    assert "SmallNet/logits/linear" in nodes["output"].input
    # From the output a way leads back to the pictures.
    seen, todo = set(), ["output"]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += nodes[name].input
    assert "images" in seen


def test_config_and_hyperparameters(events: EventAccumulator) -> None:
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert 'recipe = "fast"' in text and "40 steps, 10 per epoch, fp32 on cpu" in text
    content = plugin_data_pb2.HParamsPluginData.FromString(
        events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    )
    values = content.session_start_info.hparams
    assert values["recipe"].string_value == "fast" and values["seed"].number_value == 7
    assert values["optimizer.rate"].number_value == 0.05 and values["distortions"].string_value == "rotation, scale"
    assert "_hparams_/session_end_info" in events.summary_metadata


def test_a_resumed_run_has_every_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARES", dict.fromkeys(module.SHARES, 1e9))
    write(tmp_path, 35, reason="interrupted")  # as if killed after the checkpoint of step 30
    write(tmp_path, 50, first_step=30)
    events = read(tmp_path)
    for tag in ("loss/total", "accuracy/train"):
        assert [event.step for event in events.Scalars(tag)] == list(range(5, 55, 5)), tag
    assert [event.step for event in events.Scalars("accuracy/validation")] == [10, 20, 30, 40, 50]
    assert [event.step for event in events.Histograms("weights/hidden")] == [1, 11, 21, 31, 41]
    assert [event.step for event in events.Images("confusion")] == [10, 20, 30, 40, 50]
    assert events.Graph().node and "_hparams_/session_start_info" in events.summary_metadata


def test_a_run_that_begins_again_hides_what_was_there(tmp_path: Path) -> None:
    write(tmp_path, 20)
    write(tmp_path, 10)
    assert [event.step for event in read(tmp_path).Scalars("loss/total")] == [5, 10]


def test_what_is_written_is_flushed_at_each_checkpoint(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path, CLASSES)
    seen = []
    for event in train(
        model=SmallNet(), training=squares(100), validation=squares(50), classes=CLASSES, steps=15, per_epoch=10
    ):
        board.handle(event)
        if isinstance(event, CheckpointDue):
            seen.append((event.step, [scalar.step for scalar in read(tmp_path).Scalars("loss/total")]))
    board.close()
    assert seen == [(10, [5, 10])]


def test_watching_changes_nothing(tmp_path: Path) -> None:
    def weights(watched: bool) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        torch.manual_seed(3)
        model = SmallNet()
        board = TensorBoard(tmp_path / "events", CLASSES) if watched else None
        for event in train(model=model, training=squares(100), validation=squares(50), classes=CLASSES, steps=20):
            if board:
                board.handle(event)
        if board:
            board.close()
        return dict(model.state_dict()), torch.rand(4)

    plain, watched = weights(False), weights(True)
    assert all(torch.equal(plain[0][name], watched[0][name]) for name in plain[0])
    assert torch.equal(plain[1], watched[1]), "the random generator moved"


def test_hooks_and_modes_are_gone_afterwards(tmp_path: Path) -> None:
    model = SmallNet()
    write(tmp_path, 20, model=model)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert torch.overrides._get_current_function_mode_stack() == []


class Refuses(SmallNet):
    """Takes no picture alone, by which its graph would be drawn."""

    def forward(self, images: torch.Tensor) -> Any:
        if len(images) == 1:
            raise RuntimeError("no\npicture\x1b[0m alone")
        return super().forward(images)


def test_a_graph_that_fails_is_one_notice_and_the_rest_goes_on(tmp_path: Path) -> None:
    notices = write(tmp_path, 20, model=Refuses())
    assert len(notices) == 1
    assert notices[0].startswith("TensorBoard goes without graph from here on (no picture\\x1b[0m alone")
    assert {"accuracy/validation", "loss/total"} <= set(read(tmp_path).Tags()["scalars"])


def test_a_users_own_network_is_shown_under_its_own_names(tmp_path: Path) -> None:
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 3))
    assert write(tmp_path, 10, model=Wrapped("mine:Net", plain, 3)) == []
    events = read(tmp_path)
    assert {"weights/0", "weights/3", "activations/1"} <= set(events.Tags()["histograms"])
    assert "sparsity/1" in events.Tags()["scalars"]
    names = {node.name for node in GraphDef.FromString(events.Graph().SerializeToString()).node}
    assert {"Sequential/0/conv2d", "Sequential/1/relu", "Sequential/3/linear"} <= names


def test_many_classes_get_twenty_curves_and_it_is_said(tmp_path: Path) -> None:
    classes = tuple(f"species {number}" for number in range(25))
    assert write(tmp_path, 10, classes=classes, validation=squares(400, 25)) == []
    events = read(tmp_path)
    assert sum(tag.startswith("precision_recall/species") for tag in events.Tags()["tensors"]) == validated.CURVES
    said = events.Tensors("precision_recall/text_summary")[0].tensor_proto.string_val[0].decode()
    assert said == "Curves of the 20 classes with the most validation pictures, of 25 classes."


def test_colour_pictures(tmp_path: Path) -> None:
    assert (
        write(
            tmp_path,
            10,
            model=SmallNet(channels=3),
            training=squares(100, channels=3),
            validation=squares(80, channels=3),
        )
        == []
    )
    assert (tmp_path / "projector" / "sprite.png").exists()


def test_a_budget_that_is_overdrawn_leaves_pieces_out_but_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARES", dict.fromkeys(module.SHARES, 0.0))
    write(tmp_path, 40)
    events = read(tmp_path)
    assert [event.step for event in events.Images("confusion")] == [10, 40]
    assert [event.step for event in events.Histograms("weights/hidden")] == [1]
    assert len(events.Scalars("accuracy/validation")) == 4


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        TensorBoard(tmp_path / "file" / "tensorboard", CLASSES)


def test_tensorflow_is_not_imported_even_where_it_is_installed(tmp_path: Path) -> None:
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise SystemExit('TensorFlow was imported')")
    program = (
        "from deeper.monitor import TensorBoard; import sys\n"
        f"board = TensorBoard({str(tmp_path / 'events')!r}, ('a', 'b'))\n"
        "board.writer.add_scalar('x', 1.0, 1); board.close(); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": str(tmp_path), "PATH": ""})
