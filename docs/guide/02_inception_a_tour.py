# %% [markdown]
# # 2 · Inception, a tour
#
# In 2014 a network with about a tenth of AlexNet's weights won ImageNet. This notebook takes it apart and asks of every
# piece what it saves and what it buys. All numbers are computed from the networks themselves, not copied from papers;
# nothing is trained, so it takes half a minute, and the full form is the same.

# %%
from pathlib import Path

import torch
from IPython.display import SVG

from deeper.models import Architecture, create
from deeper.models.drawing import draw
from deeper.models.structure import structure

architecture = Architecture(model="inception_v3", classes=1000, channels=3, height=299, width=299)
inception = structure(architecture)
draw(inception, Path("inception_v3.svg"))
SVG("inception_v3.svg")

# %% [markdown]
# This is all of Inception v3, drawn by following a picture through the code. Read it as you read a newspaper, column by
# column: a *stem* of plain convolutions that shrinks 299×299 pixels to a 35×35 grid; then *mixed blocks*, each of which
# looks at its input at several scales at once; two *reductions*, where the grid halves and the channels grow; a
# classifier of a single layer. The blue bars show where the work is.
#
# ## The problem
#
# You do not know beforehand how large a thing is in a picture. So let each block look through windows of several sizes
# side by side, 1×1, 3×3, 5×5, and lay the results on top of each other. Written down directly, this *naive* block is
# unaffordable. What follows is the story of making it affordable, in three moves.
#
# ## Move one: 1×1 convolutions
#
# A 1×1 convolution looks at one position and mixes its channels: a small fully connected layer, applied everywhere.
# Put before a wide window, it first brings many channels down to few. One branch of the original network, 192 channels
# in, 32 out, on a 28×28 grid:

# %%
from deeper.models.blocks import Style
from deeper.models.describe import layers_of
from deeper.models.mixed import Average, Conv, Fork, Trunk

META = torch.device("meta")  # tensors without numbers: shapes are all that counting takes


def cost(channels, grid, *branches):
    """Weights and multiply-adds of a mixed block on a grid × grid input."""
    with META:
        block = Trunk(channels, Style()).mixed(*branches)
        layers = layers_of(block.eval(), torch.zeros(1, channels, grid, grid))
    return sum(one.parameters for one in layers), sum(one.multiply_adds for one in layers)


direct = cost(192, 28, [Conv(32, 5)])
reduced = cost(192, 28, [Conv(16, 1), Conv(32, 5)])
for name, (weights, work) in {"5×5 directly": direct, "1×1 to 16, then 5×5": reduced}.items():
    print(f"{name:20} {weights:>8,} weights {work / 1e6:>6.1f} million multiply-adds")
assert 9 < direct[1] / reduced[1] < 10

# %% [markdown]
# A tenth of the work. `Trunk(…).mixed(…)` is how the networks of this package are written, too: branches side by side,
# each a list of layers, as in the paper's figure.
#
# ## Move two: factorise
#
# Two 3×3 windows on top of each other see 5×5 pixels and cost 18 weights per pair of channels instead of 25. A 1×7
# followed by a 7×1 sees 7×7 for 14 instead of 49. The price is that not every 5×5 or 7×7 pattern can be expressed, which
# seems not to matter, and a ReLU more in between, which helps.
#
# Now all three kinds of block of v3, as they are, and as they would be without one or both of the moves:

# %%
BLOCKS = {
    "Mixed_5b, 35 × 35": (
        192,
        35,
        {
            "naive": ([Conv(64, 1)], [Conv(64, 5)], [Conv(96, 5)], [Average(3), Conv(32, 1)]),
            "with 1×1": (
                [Conv(64, 1)],
                [Conv(48, 1), Conv(64, 5)],
                [Conv(64, 1), Conv(96, 5)],
                [Average(3), Conv(32, 1)],
            ),
            "as it is": (
                [Conv(64, 1)],
                [Conv(48, 1), Conv(64, 5)],
                [Conv(64, 1), Conv(96, 3), Conv(96, 3)],
                [Average(3), Conv(32, 1)],
            ),
        },
    ),
    "Mixed_6e, 17 × 17": (
        768,
        17,
        {
            "naive": (
                [Conv(192, 1)],
                [Conv(192, 7)],
                [Conv(192, 7), Conv(192, 7)],
                [Average(3), Conv(192, 1)],
            ),
            "with 1×1": (
                [Conv(192, 1)],
                [Conv(192, 1), Conv(192, 7)],
                [Conv(192, 1), Conv(192, 7), Conv(192, 7)],
                [Average(3), Conv(192, 1)],
            ),
            "as it is": (
                [Conv(192, 1)],
                [Conv(192, 1), Conv(192, (1, 7)), Conv(192, (7, 1))],
                [
                    Conv(192, 1),
                    Conv(192, (7, 1)),
                    Conv(192, (1, 7)),
                    Conv(192, (7, 1)),
                    Conv(192, (1, 7)),
                ],
                [Average(3), Conv(192, 1)],
            ),
        },
    ),
    "Mixed_7c, 8 × 8": (
        2048,
        8,
        {
            "naive": (
                [Conv(320, 1)],
                [Conv(768, 3)],
                [Conv(384, 3), Conv(768, 3)],
                [Average(3), Conv(192, 1)],
            ),
            "with 1×1": (
                [Conv(320, 1)],
                [Conv(384, 1), Conv(768, 3)],
                [Conv(448, 1), Conv(384, 3), Conv(768, 3)],
                [Average(3), Conv(192, 1)],
            ),
            "as it is": (
                [Conv(320, 1)],
                [Conv(384, 1), Fork((Conv(384, (1, 3)), Conv(384, (3, 1))))],
                [Conv(448, 1), Conv(384, 3), Fork((Conv(384, (1, 3)), Conv(384, (3, 1))))],
                [Average(3), Conv(192, 1)],
            ),
        },
    ),
}
costs = {
    block: {name: cost(channels, grid, *branches) for name, branches in variants.items()}
    for block, (channels, grid, variants) in BLOCKS.items()
}
for block, variants in costs.items():
    for name, (weights, work) in variants.items():
        share = work / variants["naive"][1]
        print(f"{block:18} {name:9} {weights / 1e6:>6.2f} M weights {work / 1e6:>6,.0f} M mult-adds  {share:>4.0%}")

# %% [markdown]
# The last lines of each must be what the drawn network has, or this table would compare something that does not exist:

# %%
by_name = {name: block for block in inception.blocks for name in block.names}
for block, variants in costs.items():
    drawn = by_name[block.split(",")[0]]
    assert variants["as it is"] == (drawn.parameters[0], drawn.multiply_adds[0])
    assert variants["naive"][1] > 1.7 * variants["as it is"][1]

# %%
# %matplotlib inline
import matplotlib.pyplot as plt

from deeper.figures import BLUE, GREEN, ORANGE
from deeper.figures import style as drawing

with drawing():
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained")
    for axes, which, unit in ((left, 0, "million weights"), (right, 1, "million multiply-adds")):
        for offset, (name, colour) in enumerate(zip(("naive", "with 1×1", "as it is"), (ORANGE, GREEN, BLUE))):
            heights = [variants[name][which] / 1e6 for variants in costs.values()]
            axes.bar([x + 0.27 * offset for x in range(3)], heights, 0.25, color=colour, label=name)
        axes.set_xticks([0.27, 1.27, 2.27], [block.split(",")[0] for block in costs])
        axes.set_title(unit, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False)

# %% [markdown]
# The 1×1 convolutions save about two thirds everywhere. Factorising saves most where windows are large: on the 17×17
# grid it takes another two thirds, and windows of 7×7 are possible only because of it.
#
# ## How far does a value see?
#
# Each layer widens what a value of its output depends on, its *receptive field*. The largest possible one follows from
# kernels and strides alone:

# %%
from deeper.models.receptive import receptive_fields

fields = receptive_fields(architecture)
for name in ("Conv2d_2b_3x3", "Mixed_5b", "Mixed_5d", "Mixed_6a", "Mixed_6e", "Mixed_7c"):
    print(f"{name:14} {fields[name][0]:>5} × {fields[name][1]} pixels, on a grid of {by_name[name].shape[1]}")
assert fields["Mixed_7c"] == (1311, 1311)  # as published: Araujo et al., Distill 2019

# %% [markdown]
# From `Mixed_6b` on, one value may see the whole picture. But *may* is not *does*. The gradient of one value with respect
# to the picture shows which pixels count, and how much. Here for a network with random weights, for the middle of three
# grids; the frame is the receptive field by the book.

# %%
torch.manual_seed(0)
network = create(architecture).eval()
made = {}
with drawing():
    figure, places = plt.subplots(1, 3, figsize=(8, 2.8), layout="constrained")
    for axes, name in zip(places, ("Mixed_5b", "Mixed_5d", "Mixed_6b")):
        hook = getattr(network, name).register_forward_hook(lambda module, given, out: made.update(out=out))
        picture = torch.randn(1, 3, 299, 299, requires_grad=True)
        network(picture)
        middle = made["out"].shape[2] // 2
        made["out"][0, :, middle, middle].sum().backward()
        hook.remove()
        seen = picture.grad[0].abs().sum(0)
        axes.imshow(seen.sqrt().numpy(), cmap="magma")
        side = fields[name][0]
        corner = (149.5 - side / 2, 149.5 - side / 2)
        axes.add_patch(plt.Rectangle(corner, side, side, fill=False, edgecolor="white"))
        axes.set_title(f"{name}: {side} × {side}", fontsize=9)
        axes.set(xlim=(0, 298), ylim=(298, 0), xticks=[], yticks=[])

# %% [markdown]
# The middle shines and the margins hardly matter (Luo et al., 2016). So the field by the book must be much larger than
# the things to be seen, and depth, not window size, is what gets it there: *we need to go deeper*.
#
# ## Move three: an auxiliary head
#
# Deep networks were hard to train in 2014: little of the gradient reached the lower layers. So GoogLeNet got two small
# classifiers on the way, v3 has one, on `Mixed_6e`. They exist in training only:

# %%
small = torch.randn(4, 3, 139, 139)
print("in training:  ", [tuple(logits.shape) for logits in network.train()(small).aux])
print("in evaluation:", [tuple(logits.shape) for logits in network.eval()(small).aux])

# %% [markdown]
# The return type is the same in both cases, `Output(logits, aux, features)`; that the auxiliary output changed it has
# crashed many a training loop. Its loss enters with weight 0.4. How much of the gradient at `Mixed_6e` comes this way?

# %%
labels = torch.arange(4)
weight = network.Mixed_6e.Branch_0.Conv2d_0a_1x1.convolution.weight
output = network.train()(small)
main = torch.nn.functional.cross_entropy(output.logits, labels)
auxiliary = 0.4 * torch.nn.functional.cross_entropy(output.aux[0], labels)
for name, loss in (("main", main), ("auxiliary", auxiliary)):
    (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
    print(f"{name:10} gradient of norm {gradient.norm():.2f}")

# %% [markdown]
# At the beginning a good part of what `Mixed_6e` hears comes through the side door. The authors of v3 found nevertheless
# that the head does little early in training, where batch norm lets the main gradient through, and acts as a regulariser
# late.
#
# ## The family

# %% language="bash"
# deeper models

# %% [markdown]
# The same blocks, five times (the counts include auxiliary heads, which make up half of v1's). v1 is GoogLeNet; the
# network itself has seven million weights where AlexNet has sixty and VGG a hundred and forty million. v2 brought batch
# norm, v3 the factorisations seen here, v4 tidied up, and Inception-ResNet adds each block's result to its input.
#
# Two practical remarks. A network of these takes *any* size from the third column on, since only the classifier is
# fully connected, and that behind an average over all positions. Work grows with the area, so small pictures are cheap:

# %%
for side in (75, 139, 224, 299):
    sized = structure(Architecture(model="inception_v3", classes=1000, channels=3, height=side, width=side))
    print(f"{side:3} × {side:<3} {sized.multiply_adds / 1e9:5.2f} billion multiply-adds")
assert 5.6e9 < inception.multiply_adds < 5.8e9

# %% [markdown]
# And published networks of one name differ in detail: whether average pools count the padding, whether batch norm has a
# scale, where an odd row of padding goes. So each has *presets* that equal one reference exactly (`paper`, `slim`,
# `torchvision`, `keras`, `timm`), and weights bring theirs along.
#
# ## Take it with you
#
# - 1×1 convolutions make wide blocks affordable, factorised windows make large ones so.
# - Receptive fields by the book are upper bounds; count on the middle.
# - An auxiliary head is for training, and the return type must not depend on it.
#
# Next: **3 · Your own pictures.**
