"""An inspection in TensorBoard, beside the training that it explains: `RUN/tensorboard/inspection-SPLIT/`.

    inspection/accuracy  inspection/errors                           of the inspected split
    collided/NAME  placebo_collided/NAME  correct_collided/NAME      shares, for each distortion in training
    rescued/NAME  p_value/NAME  fewer_errors/NAME                    the last one after --ablate
    evidence/NAME                                                    x | x transformed | nearest training picture | distorted
    errors  grad_cam                                                 the surest errors, and where the network looked
    verdict                                                          in words

All at the step that the run ended with.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deeper import files
from deeper.errors import printable
from deeper.inspection.result import Collision, Inspection, Picture, Wrong
from deeper.inspection.verdicts import plainly
from deeper.monitor.grids import sheet
from deeper.monitor.tensorboard import use_stub_of_tensorflow

# Collisions of a distortion, and errors, on a sheet.
_COLLISIONS, _ERRORS = 12, 36


def board_folder(run: Path, name: str) -> Path:
    """Where a run's inspection goes: a folder of its own, which TensorBoard shows as a run of its own."""
    return run / "tensorboard" / f"inspection-{name}"


def write_board(found: Inspection, folder: Path, step: int) -> Path:
    """Write event files into `folder`; those of an earlier inspection are replaced. Raises: StorageError."""
    use_stub_of_tensorflow()
    from deeper.monitor.event_file import open_writer

    with files.storage(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        writer, file = open_writer(folder, None)
        try:
            for tag, value in _scalars(found).items():
                writer.add_scalar(tag, value, step)
            for tag, picture in _sheets(found).items():
                writer.add_image(tag, picture, step, dataformats="HWC")
            # Indented by four: a block of code, whatever names stand in it.
            lines = [
                found.verdict,
                *(f"{plainly(one.distortion)}: {one.verdict}" for one in found.evidence),
                *found.notes,
            ]
            writer.add_text("verdict", "\n\n".join(f"    {printable(line, 2000)}" for line in lines), step)
        finally:
            writer.close()
        if file.error is not None:
            raise file.error
    return folder


def _scalars(found: Inspection) -> dict[str, float]:
    scalars = {"inspection/accuracy": found.evaluation.accuracy, "inspection/errors": float(len(found.wrong))}
    for one in found.evidence:
        scalars[f"collided/{one.distortion}"] = one.collided / max(1, one.errors)
        scalars[f"placebo_collided/{one.distortion}"] = one.placebo_collided / max(1, one.errors)
        scalars[f"correct_collided/{one.distortion}"] = one.correct_collided / max(1, one.correct)
        scalars[f"rescued/{one.distortion}"] = one.rescued / max(1, one.errors)
        scalars[f"p_value/{one.distortion}"] = one.adjusted_p_value
        if one.cause is not None:
            scalars[f"fewer_errors/{one.distortion}"] = one.cause.fewer
    return scalars


def _sheets(found: Inspection) -> dict[str, Picture]:
    sheets = {}
    for one in found.evidence:
        if one.collisions:
            sheets[f"evidence/{one.distortion}"] = _evidence(
                one.collisions[:_COLLISIONS],
                f"{plainly(one.distortion)}: {one.collided} of {one.errors} errors collide",
            )
    kept = [wrong for wrong in found.wrong if wrong.picture is not None][:_ERRORS]
    if kept:
        title = (f"the {len(kept)} surest of {len(found.wrong):,} errors", "true class → given class")
        sheets["errors"] = sheet(
            [wrong.picture for wrong in kept if wrong.picture is not None], [_caption(one) for one in kept], title=title
        )
    looked = [one for one in found.wrong if one.attention is not None and one.picture is not None][: _ERRORS // 3]
    if looked:
        pictures, captions = [], []
        for wrong in looked:
            assert wrong.attention is not None and wrong.picture is not None
            pictures += [wrong.picture, *wrong.attention]
            captions += [_caption(wrong), (f"for {wrong.predicted}",), (f"for {wrong.label}",)]
        sheets["grad_cam"] = sheet(pictures, captions, title=("where the network looked",), columns=3)
    return sheets


def _caption(wrong: Wrong) -> tuple[str, ...]:
    return f"{wrong.label} → {wrong.predicted}", f"{wrong.probability:.0%}"


def _evidence(collisions: Sequence[Collision], title: str) -> Picture:
    pictures, captions = [], []
    for one in collisions:
        row = [
            (one.picture, (f"{one.label} → {one.predicted}",)),
            (one.transformed, (one.undone,)),
            (one.neighbour, (f"a training {one.predicted}",)),
            (one.distorted, ("distorted",)),
        ]
        for picture, caption in row:
            if picture is not None:
                pictures.append(picture)
                captions.append(caption)
    return sheet(pictures, captions, title=(title,), columns=len(pictures) // len(collisions))
