"""Colour, erasing and noise on batches of floats N × C × H × W in 0..1, with given parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from deeper.distortions import AnyDistortion
from deeper.distortions.colour import Brightness, Contrast, GuideColour, Hue, Saturation
from deeper.distortions.local import Erasing, Noise


def apply_pixels(pixels: Tensor, distortion: AnyDistortion, parameters: Tensor) -> Tensor:
    """Apply one distortion that moves no pixel. `parameters`: float32 N × P, as its `draw` gives them.

    May overwrite `pixels`. A picture's result does not depend on the others of the batch, to the last bit.
    """
    columns = [column.view(-1, 1, 1, 1) for column in parameters.to(torch.float32).unbind(1)]
    match distortion:
        case Brightness():
            return pixels.add_(columns[0]).clamp_(0, 1)
        case Contrast():
            return adjust_contrast(pixels, columns[0]).clamp_(0, 1)
        case Saturation():
            return adjust_saturation(pixels, columns[0]).clamp_(0, 1)
        case Hue():
            return adjust_hue(pixels, columns[0]).clamp_(0, 1)
        case GuideColour():
            return guide_colour(pixels, *columns)
        case Erasing():
            across, down, width, height, first, second = columns
            filling = averages(pixels)
            if distortion.noise:
                filling = noise(pixels, first, second).mul_(0.25).add_(filling).clamp_(0, 1)
            return erase(pixels, filling, across, down, width, height)
        case Noise():
            return pixels.add_(noise(pixels, columns[0], columns[1]).mul_(columns[2])).clamp_(0, 1)
        case _:
            raise TypeError(f"{type(distortion).__name__} moves pixels")


def averages(pixels: Tensor) -> Tensor:
    """Each channel's mean over each picture. N × C × 1 × 1.

    In two sums: one over whole pictures is split among threads when there are few pictures, and rounds otherwise then.
    """
    return pixels.mean(3, keepdim=True).mean(2, keepdim=True)


def adjust_contrast(pixels: Tensor, factor: Tensor) -> Tensor:
    """(pixel − mean) · factor + mean, the mean per picture and channel, as tf.image.adjust_contrast."""
    mean = averages(pixels)
    return pixels * factor + mean * (1 - factor)


def adjust_saturation(pixels: Tensor, factor: Tensor) -> Tensor:
    """HSV saturation times a factor, at most 1, as tf.image.adjust_saturation; grey stays as it is."""
    if pixels.shape[1] != 3:
        return pixels
    value = pixels.amax(1, keepdim=True)
    chroma = value - pixels.amin(1, keepdim=True)
    # Saturation is chroma / value: where the factor would lift it above 1, the chroma becomes the value.
    wanted = torch.minimum(chroma * factor, value.clamp_min(0))
    ratio = wanted.div_(chroma.clamp_min_(1e-12))
    return value - (value - pixels).mul_(ratio)


def adjust_hue(pixels: Tensor, turned: Tensor) -> Tensor:
    """HSV hue turned by a share of the circle, as tf.image.adjust_hue; value and chroma stay, grey stays as it is."""
    if pixels.shape[1] != 3:
        return pixels
    red, green, blue = pixels.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    lowest = torch.minimum(torch.minimum(red, green), blue)
    chroma = value - lowest
    # In sixths of the circle: 0 red, 2 green, 4 blue.
    sixths = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, (blue - red).add_(chroma, alpha=2), (red - green).add_(chroma, alpha=4)),
    )
    sixths = sixths.div_(chroma.clamp_min(1e-12)).add_(6 * turned[:, 0])
    sixths = sixths.sub_((sixths / 6).floor_().mul_(6))
    result = torch.empty_like(pixels)
    result[:, 0] = (sixths - 3).abs_().sub_(1).clamp_(0, 1).mul_(chroma).add_(lowest)
    result[:, 1] = (sixths - 2).abs_().neg_().add_(2).clamp_(0, 1).mul_(chroma).add_(lowest)
    result[:, 2] = (sixths - 4).abs_().neg_().add_(2).clamp_(0, 1).mul_(chroma).add_(lowest)
    return result


def guide_colour(
    pixels: Tensor, order: Tensor, brightness: Tensor, saturation: Tensor, hue: Tensor, contrast: Tensor
) -> Tensor:
    """Brightness, then saturation and hue with the contrast after them (order 0) or before (order 1), then clipped."""
    # A contrast of 1 changes nothing, so that both orders are one sequence for the whole batch.
    before = torch.where(order > 0.5, contrast, torch.ones_like(contrast))
    after = torch.where(order > 0.5, torch.ones_like(contrast), contrast)
    pixels = adjust_contrast(pixels.add_(brightness), before)
    return adjust_contrast(adjust_hue(adjust_saturation(pixels, saturation), hue), after).clamp_(0, 1)


def erase(pixels: Tensor, filling: Tensor, across: Tensor, down: Tensor, width: Tensor, height: Tensor) -> Tensor:
    """`filling` inside a box (centre and size as shares of the sides)."""
    rows = (torch.arange(pixels.shape[2], device=pixels.device) + 0.5).view(1, 1, -1, 1) / pixels.shape[2]
    columns = (torch.arange(pixels.shape[3], device=pixels.device) + 0.5).view(1, 1, 1, -1) / pixels.shape[3]
    inside = ((rows - down).abs() < height / 2) & ((columns - across).abs() < width / 2)
    return torch.where(inside, filling, pixels)


def noise(pixels: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Numbers of mean 0 and deviation 1, nearly normal, in the shape of `pixels`: a function of each picture's seed.

    The seed is two whole numbers below 2**24, which float32 holds exactly. Each number is the sum of four bytes of a
    SplitMix64 word (Irwin and Hall), so none lies beyond ±3.45, and every device gives the same.
    """
    count = pixels[0].numel()
    seeds = (first.view(-1, 1).to(torch.int64) << 24) + second.view(-1, 1).to(torch.int64)
    # The constants of SplitMix64 as signed 64-bit numbers; int64 wraps as the algorithm wants. A word makes two numbers.
    counter = torch.arange((count + 1) // 2, device=pixels.device, dtype=torch.int64) * -7046029254386353131
    words = seeds * -4658895280553007687 + counter
    words = words.bitwise_xor_((words >> 30).bitwise_and_((1 << 34) - 1)).mul_(-4658895280553007687)
    words = words.bitwise_xor_((words >> 27).bitwise_and_((1 << 37) - 1)).mul_(-7723592293110705685)
    words = words.bitwise_xor_((words >> 31).bitwise_and_((1 << 33) - 1))
    # Neighbouring bytes are added in place, then neighbouring pairs: two sums of four bytes, side by side.
    words = (words & 0x00FF00FF00FF00FF).add_((words >> 8).bitwise_and_(0x00FF00FF00FF00FF))
    words = (words & 0x0000FFFF0000FFFF).add_((words >> 16).bitwise_and_(0x0000FFFF0000FFFF))
    # A byte has mean 127.5 and variance (256² − 1) / 12.
    numbers = words.view(torch.int32).to(torch.float32).sub_(4 * 127.5).mul_((3 / (256**2 - 1)) ** 0.5)
    return numbers[:, :count].reshape(pixels.shape)
