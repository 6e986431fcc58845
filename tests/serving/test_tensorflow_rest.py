"""TensorFlow Serving's REST: what a body says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from deeper.serving.tensorflow_rest import read
from deeper.web import Refused

SIZE = (28, 28, 1)


def test_the_tensor_is_called_as_the_metadata_say() -> None:
    picture = np.zeros(SIZE, int).tolist()
    by_row, pictures = read(json.dumps({"inputs": {"image": [picture]}}).encode(), SIZE, 8)
    assert not by_row and np.shape(pictures) == (1, *SIZE)
    for inputs in ({"anything": [picture]}, {"images": [picture]}, {}, {"image": [picture], "other": [picture]}):
        with pytest.raises(Refused, match="inputs must name one tensor, image") as caught:
            read(json.dumps({"inputs": inputs}).encode(), SIZE, 8)
        assert caught.value.status == 400
