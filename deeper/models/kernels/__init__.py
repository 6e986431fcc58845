"""What a training step does between its convolutions, and convolutions with their pools, compiled for the processor at
hand when a compiler is there.

`prepare()` builds (some seconds, once; then it lies in the cache folder) and switches on; without it, without a
compiler, on a GPU, in evaluation and in exports every layer computes with PyTorch's own operators, as does one that a
hook watches. A module with `has_kernel` has use for them. Names, weights and state dicts are the same either way,
results within rounding.
"""

from __future__ import annotations

from deeper.models.kernels.library import prepare, switched_off

__all__ = ["prepare", "switched_off"]
