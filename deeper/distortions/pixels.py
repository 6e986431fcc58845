"""Colour, erasing and noise on batches of floats N × C × H × W in 0..1, with given parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from deeper.distortions import AnyDistortion
from deeper.distortions.colour import Brightness, Contrast, GuideColour, Hue, Saturation
from deeper.distortions.local import Erasing, Noise


def apply_pixels(pixels: Tensor, distortion: AnyDistortion, parameters: Tensor) -> Tensor:
    """Apply one distortion that moves no pixel. `parameters`: float64 N × P, as its `draw` gives them."""
    columns = [column.to(torch.float32).view(-1, 1, 1, 1) for column in parameters.unbind(1)]
    match distortion:
        case Brightness():
            return (pixels + columns[0]).clamp_(0, 1)
        case Contrast():
            return adjust_contrast(pixels, columns[0]).clamp_(0, 1)
        case Saturation():
            return adjust_hsv(pixels, None, columns[0]).clamp_(0, 1)
        case Hue():
            return adjust_hsv(pixels, columns[0], None).clamp_(0, 1)
        case GuideColour():
            order, brightness, saturation, hue, contrast = columns
            lit = pixels + brightness
            first = adjust_contrast(adjust_hsv(lit, hue, saturation), contrast)
            second = adjust_hsv(adjust_contrast(lit, contrast), hue, saturation)
            return torch.where(order < 0.5, first, second).clamp_(0, 1)
        case Erasing():
            return erase(pixels, *columns)
        case Noise():
            return (pixels + noise(pixels, parameters[:, 0].to(torch.int64)) * columns[1]).clamp_(0, 1)
        case _:
            raise TypeError(f"{type(distortion).__name__} moves pixels")


def adjust_contrast(pixels: Tensor, factor: Tensor) -> Tensor:
    """(pixel − mean) · factor + mean, the mean per picture and channel, as tf.image.adjust_contrast."""
    mean = pixels.mean((2, 3), keepdim=True)
    return (pixels - mean) * factor + mean


def adjust_hsv(pixels: Tensor, turned: Tensor | None, factor: Tensor | None) -> Tensor:
    """Hue turned by a share of the circle, then saturation times a factor, as tf.image does; grey stays as it is.

    Value and chroma are kept for hue; saturation is clipped to 1.
    """
    if pixels.shape[1] != 3:
        return pixels
    red, green, blue = pixels.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    sixth = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    if turned is not None:
        sixth = sixth + 6 * turned[:, 0]
    if factor is not None:
        # Saturation is chroma / value; at a factor that would lift it above 1 the chroma is the value.
        chroma = torch.minimum((chroma * factor[:, 0]), value.clamp_min(0))
    channels = []
    for offset in (5, 3, 1):
        position = (offset + sixth) % 6
        weight = torch.minimum(position, 4 - position).clamp_(0, 1)
        channels.append(value - chroma * weight)
    return torch.stack(channels, 1)


def erase(pixels: Tensor, across: Tensor, down: Tensor, width: Tensor, height: Tensor) -> Tensor:
    """Fill a box (centre and size as shares of the sides) with each picture's mean colour."""
    rows = (torch.arange(pixels.shape[2], device=pixels.device) + 0.5).view(1, 1, -1, 1) / pixels.shape[2]
    columns = (torch.arange(pixels.shape[3], device=pixels.device) + 0.5).view(1, 1, 1, -1) / pixels.shape[3]
    inside = ((rows - down).abs() < height / 2) & ((columns - across).abs() < width / 2)
    return torch.where(inside, pixels.mean((2, 3), keepdim=True), pixels)


def noise(pixels: Tensor, seeds: Tensor) -> Tensor:
    """Numbers of mean 0 and deviation 1, nearly normal, for each value of each picture: a function of the seed alone.

    Each is the sum of the four 16-bit parts of a SplitMix64 word (Irwin and Hall), so none lies beyond ±3.47.
    """
    count = pixels[0].numel()
    # The constants of SplitMix64 as signed 64-bit numbers; int64 wraps as the algorithm wants.
    counter = torch.arange(count, device=pixels.device, dtype=torch.int64) * -7046029254386353131
    words = seeds.to(pixels.device).view(-1, 1) * -4658895280553007687 + counter.view(1, -1)
    words = (words ^ (words >> 30 & (1 << 34) - 1)) * -4658895280553007687
    words = (words ^ (words >> 27 & (1 << 37) - 1)) * -7723592293110705685
    words = words ^ (words >> 31 & (1 << 33) - 1)
    total = sum(((words >> shift) & 0xFFFF).to(torch.float32) for shift in (0, 16, 32, 48))
    assert isinstance(total, Tensor)
    # Four uniforms on 0..65535: mean 2 · 65535, deviation 65536 · √(4/12).
    numbers: Tensor = (total - 131070) / (65536 * (4 / 12) ** 0.5)
    return numbers.view(pixels.shape)
