"""The queue before an engine: bounded from the moment that pictures are let in, and nothing is lost or waited for twice."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from deeper.prediction import Prediction
from deeper.serving import Batcher
from deeper.web import Refused


def pictures(count: int, value: int = 0) -> np.ndarray:
    return np.full((count, 2, 2, 1), value, np.uint8)


def answer(images: np.ndarray) -> list[Prediction]:
    """Says back the value of each picture."""
    return [Prediction(("x",), one[0, 0].astype(np.float32)) for one in images]


def test_room_is_taken_before_pictures_are_there_and_given_back() -> None:
    async def main() -> None:
        batcher = Batcher(limit=4)
        with batcher.place(3) as place:
            assert batcher.coming == 3
            with pytest.raises(Refused, match="3 pictures wait already") as refused:
                batcher.place(2)
            assert refused.value.status == 503 and int(refused.value.headers["retry-after"]) >= 1
            waiting = asyncio.ensure_future(batcher.submit(pictures(3), answer, place))
            assert (batcher.coming, batcher.pictures) == (0, 3)
        assert (batcher.coming, batcher.pictures) == (0, 3)
        with pytest.raises(ValueError), batcher.place(1):
            raise ValueError("no picture")
        assert batcher.coming == 0
        with pytest.raises(Refused):
            batcher.submit(pictures(2), answer)
        batcher.start()
        assert len(await waiting) == 3
        assert batcher.pictures == 0
        assert await batcher.submit(pictures(0), answer) == []
        await batcher.stop()

    asyncio.run(main())


def test_a_request_larger_than_the_queue_is_told_so_whatever_waits() -> None:
    async def main() -> None:
        batcher = Batcher(limit=4, largest=2)
        with pytest.raises(Refused, match="5 pictures in a request; this server's queue takes 4") as refused:
            batcher.submit(pictures(5), answer)
        assert refused.value.status == 413
        await batcher.stop()

    asyncio.run(main())


def test_a_request_larger_than_a_batch_is_split() -> None:
    sizes: list[int] = []

    async def main() -> None:
        batcher = Batcher(limit=100, largest=4, wait=0.01, batched=lambda count, seconds: sizes.append(count))
        batcher.start()
        many, one = pictures(10), pictures(1, 9)
        many[:, 0, 0, 0] = range(10)
        found, last = await asyncio.gather(batcher.submit(many, answer), batcher.submit(one, answer))
        assert [float(prediction.logits[0]) for prediction in found] == list(range(10))
        assert float(last[0].logits[0]) == 9
        await batcher.stop()

    asyncio.run(main())
    assert max(sizes) <= 4 and sum(sizes) == 11 and len(sizes) == 3


def test_a_full_batch_waits_no_longer() -> None:
    async def main() -> None:
        batcher = Batcher(largest=8, wait=5)
        batcher.start()
        began = time.perf_counter()
        first = asyncio.ensure_future(batcher.submit(pictures(1), answer))
        await asyncio.sleep(0.1)
        await asyncio.gather(first, *(batcher.submit(pictures(1), answer) for _ in range(7)))
        assert time.perf_counter() - began < 4.5  # it may wait five
        await batcher.stop()

    asyncio.run(main())


def test_answers_go_to_those_who_asked_and_batches_are_gathered() -> None:
    sizes: list[int] = []

    async def main() -> None:
        batcher = Batcher(largest=8, wait=0.05, batched=lambda count, seconds: sizes.append(count))
        batcher.start()
        found = await asyncio.gather(
            *(batcher.submit(pictures(number % 3 + 1, number), answer) for number in range(12))
        )
        for number, predictions in enumerate(found):
            assert [float(one.logits[0]) for one in predictions] == [number] * (number % 3 + 1)
        await batcher.stop()

    asyncio.run(main())
    assert sum(sizes) == 24 and max(sizes) <= 8 and len(sizes) <= 5


def test_pictures_of_two_networks_share_no_batch() -> None:
    def other(images: np.ndarray) -> list[Prediction]:
        assert (images == 2).all()
        return answer(images + 100)

    async def main() -> None:
        batcher = Batcher(largest=8, wait=0.05)
        batcher.start()
        kinds = [(1, answer), (2, other), (2, other), (1, answer)]
        found = await asyncio.gather(*(batcher.submit(pictures(1, value), kind) for value, kind in kinds))
        assert [float(one[0].logits[0]) for one in found] == [1, 102, 102, 1]
        await batcher.stop()

    asyncio.run(main())


def test_who_left_or_waited_too_long_costs_the_engine_nothing() -> None:
    seen: list[int] = []
    free = threading.Event()

    def slow(images: np.ndarray) -> list[Prediction]:
        seen.append(int(images[0, 0, 0, 0]))
        free.wait(10)
        return answer(images)

    async def main() -> None:
        batcher = Batcher(largest=1, wait=0)
        batcher.start()
        first = asyncio.ensure_future(batcher.submit(pictures(1, 1), slow))
        await asyncio.sleep(0.1)
        left = asyncio.ensure_future(batcher.submit(pictures(3, 2), slow))
        last = asyncio.ensure_future(batcher.submit(pictures(1, 4), slow))
        await asyncio.sleep(0)
        assert batcher.pictures == 4
        left.cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.submit(pictures(1, 3), slow), 0.1)
        assert batcher.pictures == 1
        free.set()
        assert (await first)[0].logits[0] == 1 and (await last)[0].logits[0] == 4
        await batcher.stop()

    asyncio.run(main())
    assert seen == [1, 4]


def test_an_engine_that_fails_fails_its_batch_alone() -> None:
    def fails_on_nine(images: np.ndarray) -> list[Prediction]:
        if (images == 9).any():
            raise RuntimeError("nine")
        return answer(images)

    async def main() -> None:
        batcher = Batcher(largest=1, wait=0)
        batcher.start()
        found = await asyncio.gather(
            *(batcher.submit(pictures(1, value), fails_on_nine) for value in (1, 9, 2)),
            batcher.submit(pictures(3, 9), fails_on_nine),
            return_exceptions=True,
        )
        assert [isinstance(one, RuntimeError) for one in found] == [False, True, False, True]
        await batcher.stop()

    asyncio.run(main())


def test_whatever_goes_wrong_the_next_is_answered() -> None:
    def broken(count: int, seconds: float) -> None:
        raise OSError("no room to count")

    async def main() -> None:
        batcher = Batcher(largest=4, wait=0.05, batched=broken)
        batcher.start()
        # Pictures of two sizes cannot be joined to one batch.
        odd = np.zeros((1, 3, 3, 1), np.uint8)
        found = await asyncio.gather(
            batcher.submit(pictures(1), answer), batcher.submit(odd, answer), return_exceptions=True
        )
        assert [isinstance(one, ValueError) for one in found] == [True, True]
        assert len(await asyncio.wait_for(batcher.submit(pictures(2), answer), 10)) == 2
        await batcher.stop()

    asyncio.run(main())
