"""Inspections of any size, made up, so that the report can be looked at with no error and with ten thousand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from deeper.evaluation import Evaluation
from deeper.inspection.result import (
    Against,
    Cause,
    Collision,
    Evidence,
    Inspection,
    JudgeFacts,
    Pair,
    Placebo,
    Slice,
    Wrong,
)

Make = Callable[..., Inspection]


def made_up(
    classes: tuple[str, ...] = ("cat", "dog", "owl"),
    right: int = 200,
    errors: int = 30,
    side: int = 28,
    channels: int = 1,
    name: str = "{label}/{number}.jpg",
    accused: bool = True,
) -> Inspection:
    draws = np.random.default_rng(0)
    total, kinds = right + errors, len(classes)
    labels = np.arange(total) % kinds
    predicted = labels.copy()
    if errors:
        predicted[:errors] = (labels[:errors] + 1 + np.arange(errors) % max(1, kinds - 1)) % kinds
    logits = np.zeros((total, kinds), np.float32)
    logits[np.arange(total), predicted] = draws.uniform(1, 6, total)
    ids = tuple(name.format(label=classes[labels[number]], number=number) for number in range(total))
    evaluation = Evaluation(classes=classes, ids=ids, labels=labels.astype(np.int64), logits=logits)
    pictures = draws.integers(0, 256, (errors, side, side, channels), dtype=np.uint8)
    wrong = tuple(
        Wrong(
            id=ids[number],
            position=number,
            label=classes[labels[number]],
            predicted=classes[predicted[number]],
            probability=0.9,
            true_probability=0.05,
            judged=classes[labels[number]],
            judge_probability=0.8,
            collided_by=("horizontal_flip",) if number % 2 else (),
            rescued_by=("rotation",) if number % 3 == 0 else (),
            picture=pictures[number],
        )
        for number in range(errors)
    )
    collisions = tuple(
        Collision(
            id=one.id,
            label=one.label,
            predicted=one.predicted,
            undone="mirrored left to right",
            judge_probability=0.97,
            picture=one.picture,
            transformed=one.picture[:, ::-1],
            neighbour_id="train/1",
            neighbour=one.picture[::-1],
            distorted=one.picture[::-1, ::-1],
        )
        for one in wrong[1:200:2]
        if one.picture is not None
    )
    placebo = Placebo(
        name="vertical_flip",
        description="mirrored top to bottom",
        tries=1,
        loss=0.4,
        collided=2,
        collided_interval=(0.02, 0.2),
        only_distortion=13,
        only_placebo=1,
        p_value=0.002,
    )
    cause = Cause(
        kind="cause",
        distortion="horizontal_flip",
        seeds=5,
        steps=900,
        fewer=19.2,
        fewer_interval=(13, 25),
        elsewhere=2.1,
        elsewhere_interval=(-1, 5),
        errors_with=(95, 90, 99, 97, 93),
        errors_without=(70, 75, 72, 69, 74),
        p_value=0.008,
        adjusted_p_value=0.008,
        accuracy_with=0.9905,
        accuracy_without=0.993,
        verdict="Retrained five times without it: 19 fewer errors (13–25), 2 new.",
    )
    pair = Pair(
        label=classes[0],
        predicted=classes[-1],
        errors=12,
        collided=11,
        placebo_collided=1,
        p_value=0.001,
        adjusted_p_value=0.01,
        significant=True,
    )
    evidence = Evidence(
        distortion="horizontal_flip",
        description="horizontal flip with probability 0.5",
        method="inverse",
        tries=1,
        loss=0.4,
        errors=errors,
        judged=errors,
        collided=errors // 2,
        collided_interval=(0.3, 0.7),
        correct=100,
        correct_collided=9,
        correct_interval=(0.05, 0.16),
        placebos=(placebo,),
        rescued=5,
        placebo_rescued=4,
        p_value=0.002,
        adjusted_p_value=0.004,
        accused=accused,
        pairs=(pair,),
        collisions=collisions,
        cause=cause,
        verdict=f"{errors // 2} of {errors} errors look like the predicted class. Then: `deeper train … --policy policy.toml`.",
    )
    return Inspection(
        run="runs/first",
        model="nielsen",
        dataset="datasets/pets",
        split="test",
        diagnosis_only=True,
        evaluation=evaluation,
        judge=JudgeFacts(
            description="2 networks.",
            accuracy=0.98,
            interval=(0.97, 0.99),
            accuracy_here=0.97,
            balanced_accuracy=0.98,
            weak=False,
            seconds=1.0,
        ),
        evidence=(evidence,) if errors else (),
        wrong=wrong,
        slices=(
            Slice(
                kind="brightness",
                name="darkest third",
                pictures=total // 3,
                correct=total // 4,
                accuracy=0.75,
                interval=(0.6, 0.85),
                rest_accuracy=0.9,
                p_value=0.001,
                adjusted_p_value=0.003,
                worse=True,
            ),
        ),
        against=Against(
            run="runs/second",
            accuracy=0.9,
            mended=tuple(one.id for one in wrong[:100]),
            broken=ids[errors : errors + 3],
            both_wrong=max(0, errors - 100),
            difference=-0.01,
            interval=(-0.02, 0.0),
            p_value=0.04,
        ),
        policy=None,
        policy_path=None,
        verdict="Horizontal flip: half of the errors look like the predicted class. (diagnosis only: …)",
        notes=("Judge: weak in places.",),
        seconds={"evaluation": 1.0, "judge": 40.0},
    )


@pytest.fixture(scope="session")
def make() -> Make:
    return made_up
