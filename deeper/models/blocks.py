"""Building blocks: what a paper's figure writes in one line is one line here.

Blocks are modules, and the names under which a network holds them are its scopes: TensorBoard's graph, the
histograms, the layer table and the state dict all show the same `Mixed_5b/Branch_1/Conv2d_0b_5x5`.
Shapes in comments are N × channels × height × width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeper.errors import UsageError, nearest
from deeper.models.kernels.layout import OWN, Slot, usable
from deeper.models.kernels.norm import Norm, norm_relu
from deeper.models.kernels.pool import LARGEST_WINDOW, max_pool
from deeper.models.kernels.products import products
from deeper.models.noise import Dropout, set_noise

__all__ = [
    "AveragePool",
    "BatchNorm",
    "Convolution",
    "Dropout",
    "Linear",
    "MaxPool",
    "Style",
    "check_images",
    "check_size",
    "initialise",
    "set_noise",
]

Initialisation = Literal["pytorch", "truncated_normal", "variance_scaling", "glorot_uniform"]
Padding = Literal["same", "valid"]
INITIALISATIONS = get_args(Initialisation)

# Max-pools over fewer channels than fill some vectors are PyTorch's own (`docs/log.md`).
WORTH_A_KERNEL = 64


@dataclass(frozen=True, kw_only=True)
class Style:
    """What all convolutions of a network share (TF-Slim's `arg_scope`, as a value).

    Raises: UsageError, for an unknown initialisation.
    """

    batch_norm: bool = True
    """Without batch norm a convolution has a bias."""
    gamma: bool = False
    """Whether batch norm learns a scale: torchvision and timm do, TF-Slim and Keras do not."""
    epsilon: float = 0.001
    momentum: float = 0.1
    """PyTorch's: a running statistic moves this share towards each batch's. TensorFlow's decay 0.9997 is 0.0003."""
    tensorflow_padding: bool = True
    """At stride 2, TensorFlow's SAME pads an odd row at the bottom and right. Otherwise convolutions pad alike on all
    sides and max-pools let the last window reach over the edge (torchvision's `ceil_mode`); both halve, rounding up."""
    average_padding: bool = False
    """Whether average pools count the zeros of the padding: torchvision does, TensorFlow, Keras and timm do not."""
    initialisation: Initialisation = "variance_scaling"
    deviation: float = 0.1
    """Of `truncated_normal`, for convolutions."""

    def __post_init__(self) -> None:
        if self.initialisation not in INITIALISATIONS:
            raise UsageError(
                f"no initialisation {self.initialisation!r}{nearest(self.initialisation, INITIALISATIONS)}"
            )
        if not 0 < self.momentum <= 1:
            raise UsageError(f"batch-norm momentum must be above 0 and at most 1, got {self.momentum}")


def initialise(layer: nn.Conv2d | nn.Linear, how: Initialisation, deviation: float = 0.1) -> None:
    """Fill the weights of `layer`, and its bias with zeros; `pytorch` leaves PyTorch's uniform draws as they are.

    `truncated_normal`: of `deviation`, cut at two deviations (`research/inception/inception/slim/ops.py`: 0.1 for
    convolutions, 0.01 for fully connected layers). `variance_scaling`: normal with variance 2 / fan-in after the cut
    (`tf_slim/layers/initializers.py`, factor 2; its 1.3 makes up for what the cut takes from the variance).
    `glorot_uniform`: Keras' default.
    """
    if how == "pytorch":
        return
    if how == "glorot_uniform":
        nn.init.xavier_uniform_(layer.weight)
    else:
        if how == "variance_scaling":
            deviation = math.sqrt(1.3 * 2 / layer.weight[0].numel())
        # The inverse of the distribution function over what lies within two deviations; `nn.init.trunc_normal_` gives
        # the same in eleven times the time, a second for Inception v3.
        reach = math.erf(math.sqrt(2))
        with torch.no_grad():
            layer.weight.uniform_(-reach, reach).erfinv_().mul_(math.sqrt(2) * deviation)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a kernel or stride given as one number or two."""
    return value if isinstance(value, tuple) else (value, value)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """(before, after): TensorFlow's SAME for one dimension; the odd one goes after."""
    total = max(0, (math.ceil(size / stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


def pad_as_tensorflow(x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], value: float = 0.0) -> Tensor:
    """`x` padded so that a VALID convolution or pool over it is TensorFlow's SAME."""
    top, bottom = same_padding(x.shape[2], kernel[0], stride[0])
    left, right = same_padding(x.shape[3], kernel[1], stride[1])
    return F.pad(x, (left, right, top, bottom), value=value) if top or bottom or left or right else x


class BatchNorm(nn.BatchNorm2d):
    """Normalise each channel by the batch's statistics in training, by their running averages in evaluation.

    Without gamma the scale is a constant 1, held as a buffer that is in no state dict and gets no gradient.
    """

    has_kernel = True

    def __init__(self, channels: int, style: Style) -> None:
        super().__init__(channels, eps=style.epsilon, momentum=style.momentum)
        if not style.gamma:
            del self.weight
            self.register_buffer("weight", torch.ones(channels), persistent=False)

    def fuses(self) -> bool:
        """Whether a kernel may do what this layer would."""
        return self.training and self.bias.dtype == torch.float32

    def count(self) -> float:
        """Count a batch, as `forward` does in training, and return by how much it moves the running statistics."""
        if self.num_batches_tracked is None:
            return 0.0
        self.num_batches_tracked.add_(1)
        return 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum


def unwatched(module: nn.Module) -> bool:
    """Whether no hook waits for what goes in or out of a module inside `module`."""
    if nn.modules.module._has_any_global_hook():  # type: ignore[no-untyped-call]
        return False
    return not any(
        inner._forward_hooks or inner._forward_pre_hooks or inner._backward_hooks or inner._backward_pre_hooks
        for inner in module.modules()
        if inner is not module
    )


class Convolution(nn.Module):
    """Convolution, then batch norm (or a bias), then ReLU.

    `padding`: `same` keeps the size at stride 1 (at stride 2 it halves, rounding up), `valid` pads nothing.
    `activation=False` leaves the ReLU out; `batch_norm` and `deviation`, where given, replace the style's.
    Shape: N × inputs × H × W → N × outputs × H' × W'.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        *,
        style: Style,
        stride: int = 1,
        padding: Padding = "same",
        activation: bool = True,
        batch_norm: bool | None = None,
        deviation: float | None = None,
    ) -> None:
        super().__init__()
        self.kernel, self.stride = pair(kernel), pair(stride)
        with_norm = style.batch_norm if batch_norm is None else batch_norm
        self.pads_as_tensorflow = padding == "same" and style.tensorflow_padding and stride > 1
        around = (self.kernel[0] // 2, self.kernel[1] // 2)
        self.convolution = nn.Conv2d(
            inputs,
            outputs,
            self.kernel,
            stride,
            padding=(0, 0) if padding == "valid" or self.pads_as_tensorflow else around,
            bias=not with_norm,
        )
        initialise(self.convolution, style.initialisation, deviation or style.deviation)
        self.norm = BatchNorm(outputs, style) if with_norm else None
        self.activation = nn.ReLU(inplace=with_norm) if activation else None

    def forward(self, x: Tensor) -> Tensor:
        if self.fuses() and usable(x, torch.float32):
            return self.fused(x)
        if self.pads_as_tensorflow:
            x = pad_as_tensorflow(x, self.kernel, self.stride)
        x = self.convolution(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.activation is None else self.activation(x)

    def fuses(self) -> bool:
        """Whether batch norm and ReLU may run as one kernel: in training, and nobody watches what is between."""
        return self.norm is not None and self.norm.fuses() and unwatched(self)

    def fused(self, x: Tensor, slot: Slot = OWN) -> Tensor:
        """What `forward` gives, by the compiled kernels, written into `slot`."""
        if self.pads_as_tensorflow:
            x = pad_as_tensorflow(x, self.kernel, self.stride)
        alone = self.kernel == x.shape[2:] and self.convolution.padding == (0, 0)
        x = products(x, [self.convolution.weight]) if self.is_pointwise or alone else self.convolution(x)
        return norm_relu(x, [self.normed(slot=slot)])[0]

    @property
    def is_pointwise(self) -> bool:
        """Whether each position is computed from itself alone."""
        return self.kernel == (1, 1) and self.stride == (1, 1)

    def normed(self, *, slot: Slot = OWN, pool: AveragePool | None = None) -> Norm:
        """What is to be done behind the convolution, an average pool first, for `norm_relu`."""
        norm = self.norm
        assert norm is not None
        return Norm(
            channels=norm.num_features,
            gamma=norm.weight if isinstance(norm.weight, nn.Parameter) else None,
            beta=norm.bias,
            mean=norm.running_mean,
            variance=norm.running_var,
            epsilon=norm.eps,
            momentum=norm.count(),
            relu=self.activation is not None,
            pool=pool.kernel[0] if pool is not None else None,
            counts_padding=pool is not None and pool.counts_padding,
            slot=slot,
        )


class MaxPool(nn.Module):
    """The largest value of each window; what is padded never wins.

    `same` at stride 1 keeps the size; at stride 2 it halves, rounding up: with TensorFlow's padding, or without
    padding and a last window that reaches over the edge. The two agree for even sizes and an odd kernel.
    """

    def __init__(
        self, kernel: int, stride: int, *, padding: Padding = "valid", tensorflow_padding: bool = False
    ) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.pads_as_tensorflow = padding == "same" and tensorflow_padding and stride > 1
        self.reaches_over = padding == "same" and not tensorflow_padding and stride > 1
        self.around = kernel // 2 if padding == "same" and stride == 1 else 0

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.shape[1] >= WORTH_A_KERNEL and self.fuses() and usable(x):
            return self.fused(x)
        if self.pads_as_tensorflow:
            x = pad_as_tensorflow(x, pair(self.kernel), pair(self.stride), value=float("-inf"))
        return F.max_pool2d(x, self.kernel, self.stride, self.around, ceil_mode=self.reaches_over)

    def fuses(self) -> bool:
        """Whether there is a compiled kernel for such windows."""
        return self.kernel <= LARGEST_WINDOW

    def fused(self, x: Tensor, slot: Slot = OWN) -> Tensor:
        """What `forward` gives, by the compiled kernel, written into `slot`."""
        outs, before = [], []
        for size in x.shape[2:]:
            span = size + 2 * self.around - self.kernel
            out = span // self.stride + 1
            if self.pads_as_tensorflow:
                out = math.ceil(size / self.stride)
            elif self.reaches_over and span % self.stride and out * self.stride < size + self.around:
                out += 1  # the last window begins inside
            outs.append(out)
            before.append(same_padding(size, self.kernel, self.stride)[0] if self.pads_as_tensorflow else self.around)
        return max_pool(x, self.kernel, self.stride, (before[0], before[1]), (outs[0], outs[1]), slot)

    def extra_repr(self) -> str:
        return f"{self.kernel}×{self.kernel}, stride {self.stride}"


class AveragePool(nn.Module):
    """The mean of each window. `counts_padding`: whether the zeros of SAME padding are averaged in."""

    def __init__(
        self,
        kernel: int | tuple[int, int],
        stride: int = 1,
        *,
        padding: Padding = "same",
        counts_padding: bool = False,
    ) -> None:
        super().__init__()
        self.kernel, self.stride = pair(kernel), stride
        self.around = (self.kernel[0] // 2, self.kernel[1] // 2) if padding == "same" else (0, 0)
        self.counts_padding = counts_padding

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.kernel, self.stride, self.around, count_include_pad=self.counts_padding)

    @property
    def keeps_size(self) -> bool:
        """Whether each position gets the mean of what is around it."""
        side = self.kernel[0]
        return self.kernel == (side, side) and side % 2 == 1 and self.stride == 1 and self.around[0] == side // 2

    def extra_repr(self) -> str:
        return f"{self.kernel[0]}×{self.kernel[1]}, stride {self.stride}"


class Linear(nn.Linear):
    """A fully connected layer with a stated initialisation. Shape: N × inputs → N × outputs."""

    def __init__(
        self, inputs: int, outputs: int, initialisation: Initialisation = "pytorch", deviation: float = 0.01
    ) -> None:
        super().__init__(inputs, outputs)
        initialise(self, initialisation, deviation)


def check_size(model: str, height: int, width: int, smallest: int) -> None:
    """Raises: UsageError, when an input of `height` × `width` is below `smallest` on a side."""
    if min(height, width) < smallest:
        raise UsageError(
            f"{model} cannot take {height}×{width} pixels: the smallest input is {smallest}×{smallest}; "
            f"choose a larger input (--size {smallest} or more)"
        )


def check_images(
    model: str, images: Tensor, channels: int, smallest: int, exactly: tuple[int, int] | None = None
) -> None:
    """Raises: UsageError, when a batch is not N × channels × H × W with both sides from `smallest` on, or not of the
    (height, width) `exactly`, where given."""
    if torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return  # a trace would only warn that the comparison is frozen into it
    if images.ndim != 4 or images.shape[1] != channels:
        given = " × ".join(map(str, images.shape))
        raise UsageError(
            f"{model} was built for N × {channels} × height × width, got {given}; "
            f"convert the pictures to {channels} channels, or build it for theirs"
        )
    height, width = images.shape[2], images.shape[3]
    check_size(model, height, width, smallest)
    if exactly is not None and (height, width) != exactly:
        raise UsageError(
            f"{model} was built for {exactly[0]}×{exactly[1]} pixels, got {height}×{width}; "
            "resize the pictures or build it for that size"
        )
