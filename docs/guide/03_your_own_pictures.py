# %% [markdown]
# # 3 · Your own pictures
#
# MNIST is clean, balanced and centred. Your pictures are not. This notebook goes the whole way with photographs of
# flowers, on purpose with everything in them that real folders have: broken files, the same picture under two names, a
# class that is hardly there.
#
# The quick form takes six species, pictures of 75 pixels and a few epochs: two to three minutes, and a network that is
# far better than guessing. The full form (`DEEPER_GUIDE=full`) takes eight species at 149 pixels and twelve times as many
# epochs, which is a matter of an hour or two on two cores. What was measured beyond that stands in
# [results](../results.md).

# %%
import os
import shutil
from pathlib import Path

from PIL import Image

import deeper
from deeper.monitor.grids import sheet
from deeper.runs import dataset_for

QUICK = os.environ.get("DEEPER_GUIDE", "quick") == "quick"
FLOWERS = Path(os.environ.get("DEEPER_DATA", "")) / "flowers12"

# %% [markdown]
# ## A folder of photographs
#
# One sub-folder per class is all that `deeper build` wants; `train/` and `test/` above them are kept apart if they are
# there, else splits are drawn. We copy species of flowers12 (twelve of Oxford's flowers, sixty training pictures of each) into
# `photos/`; four more species will come later, as they do. Where there are no flowers, digits have to stand
# in for them.

# %%
if FLOWERS.is_dir():
    species = ["bluebell", "buttercup", "daisy", "pansy", "sunflower", "tigerlily"]
    later = ["fritillary", "iris", "lily-valley", "windflower"]
    if not QUICK:
        species += ["colts-foot", "dandelion"]
    for split in ("train", "test"):
        for name in species:
            shutil.copytree(FLOWERS / split / name, Path("photos") / split / name)
        for name in later:
            shutil.copytree(FLOWERS / split / name, Path("more") / split / name)
    few = "daisy"
else:
    digits = dataset_for("digits")
    species, later, few = list("012345"), list("6789"), "2"
    for split, most in (("train", 60), ("test", 20)):
        pictures = digits.split(split)
        for name in species + later:
            folder = Path("photos" if name in species else "more") / split / name
            folder.mkdir(parents=True)
            for position in [i for i in range(len(pictures)) if digits.classes[pictures.labels[i]] == name][:most]:
                Image.fromarray(pictures.picture(position)[..., 0]).save(folder / f"{position}.png")

# %% [markdown]
# Now the damage, which you would otherwise meet after three hours of training:

# %%
train = Path("photos/train")
first, second = sorted((train / species[0]).iterdir())[:2]
(train / species[0] / f"cut_off{first.suffix}").write_bytes(
    first.read_bytes()[: first.stat().st_size // 2]
)  # an interrupted download
(train / species[0] / f"empty{first.suffix}").write_bytes(b"")
(train / species[1] / "a_web_page.jpg").write_text("<html>404 Not Found</html>")
shutil.copy(second, train / species[1] / f"twice{second.suffix}")  # the same picture, under another label
for path in sorted((train / few).iterdir())[15:]:  # and a class with fifteen pictures
    path.unlink()

# %%
report = deeper.build("photos", "datasets/photos")
print(f"{report.found} found, {report.kept} kept, {report.rejected} rejected; {report.splits}")
for notice in report.notices:
    print("note:", notice)
print(Path("datasets/photos/rejected.csv").read_text())
assert report.rejected == 3

# %% [markdown]
# A bad file is listed with its reason, and stops nothing. The dataset is a folder of TFRecords, readable by TensorFlow
# too, with a checksum on everything (`deeper verify datasets/photos`).

# %%
dataset = deeper.Dataset("datasets/photos")
training = dataset.split("train")
shown = [next(i for i, label in enumerate(training.labels) if label == index) for index in range(len(dataset.classes))]
Image.fromarray(sheet([training.picture(i) for i in shown], [[name] for name in dataset.classes]))

# %% [markdown]
# ## Few of a kind
#
# An average hides a rare class: a network that never says its name loses almost nothing. Two remedies are built in: count
# it as much as the others in the loss (`class_weights="balanced"`, below), and look at every class by itself afterwards.

# %%
import numpy as np

counts = np.bincount(training.labels)
for name, count in zip(dataset.classes, counts):
    print(f"{name:12} {count:3} {'▇' * (count // 2)}")

# %% [markdown]
# ## Before training: what may be done to these pictures?
#
# Distortions make few pictures many, as long as what they make is still the same flower. `deeper audit` asks small
# networks that never saw a distortion. A mirrored flower is a flower, as the next sheet shows; but would you have thought
# of the colours?

# %%
from deeper.distortions import parse
from deeper.distortions.sheet import draw_sheet
from deeper.images import Preprocess

tried = ["horizontal_flip", "rotation=30", "hue=0.2" if dataset.info.channels == 3 else "noise=0.2", "crop=0.5"]
fit = Preprocess(height=96, width=96, channels=dataset.info.channels)
draw_sheet(
    np.stack([fit.fit(training.picture(i)) for i in shown[:4]]),
    [dataset.classes[training.labels[i]] for i in shown[:4]],
    [parse(text) for text in tried],
    Path("distortions.png"),
    size=(84, 84),
)
Image.open("distortions.png").convert("RGB").reduce(2)

# %%
audit = deeper.audit(dataset, distort=tried[::2], out="audits/photos")
print(f"the judge reads {audit.judge.accuracy:.0%} right{', which is weak' if audit.judge.weak else ''}")
for description in dict.fromkeys(one.description for one in audit.findings):
    verdicts = audit.classes_by_verdict(description)
    print(description, {verdict: " ".join(names) for verdict, names in verdicts.items() if names})

# %% [markdown]
# Flips are shown to be safe for flowers, as they are not for digits (notebook 4). To turn the hue is not: where species
# are told apart by their colour, a yellow flower turned red is another species. Read "undecided" literally: from a few
# dozen pictures of a class certainty is not to be had. What follows from it is in `audits/photos/policy.toml`, for
# `deeper train --policy`.
#
# And labels? The same judge knows which pictures deserve a look. It finds our smuggled one, because a picture that is
# there twice under two names is wrong at least once. (A *leak* is a picture with a twin in another split, which flatters
# the test.)

# %%
from deeper.inspection.labels import find_doubts

doubts = find_doubts(dataset)
print(doubts.counts())
for one in doubts.suspects[:3]:
    print(f"{one.id}\n    {one.detail}")
assert any("twice" in one.id or "twice" in one.detail for one in doubts.suspects[:4])

# %% [markdown]
# ## Inception, from nothing
#
# Everything else is chosen by the pictures and said aloud (here it is silent, to save paper). Training begins on small
# pictures and grows them: small ones are cheap, and shapes are learnt first.
#
# Half a minute on some three hundred photographs makes no expert. This notebook asks for one and a half times what
# guessing gives, 25 % of six species, and fails below that.

# %%
SIZE = 75 if QUICK else 149
common = {"model": "inception_v3", "quiet": True, "audit": False, "options": {"height": SIZE, "width": SIZE}}
common["options"]["class_weights"] = "balanced"
epochs = 60 if not QUICK else 5 if FLOWERS.is_dir() else 15  # digits have no colours to begin with
result = deeper.train(dataset, recipe="fast", epochs=epochs, out="runs/scratch", **common)
scratch = deeper.evaluate("runs/scratch")
low, high = scratch.interval
print(f"{result.seconds:.0f} s; {scratch.accuracy:.0%} of {scratch.total} test pictures ({low:.0%} to {high:.0%})")
assert scratch.accuracy > 1.5 / len(species)

# %%
for one in scratch.per_class:
    low, high = one.recall_interval
    print(
        f"{one.name:12} {one.correct:2} of {one.support} found ({low:.0%} to {high:.0%}), named {one.predicted} times"
    )

# %% [markdown]
# ## Read the pages of TensorBoard
#
# `deeper board runs/scratch` shows curves, histograms of every layer by its scope, the graph, the pictures as the network
# sees them after all distortions, and the validation's confusions. Two of these sheets, from the event file:

# %%
import io

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

board = EventAccumulator("runs/scratch/tensorboard", size_guidance={"images": 0}).Reload()
tags = board.Tags()
print("pictures:  ", ", ".join(tags["images"]))
print("histograms:", len(tags["histograms"]), "such as", tags["histograms"][0])


def picture_of(tag):
    return Image.open(io.BytesIO(board.Images(tag)[-1].encoded_image_string)).convert("RGB")


picture_of(tags["images"][0])

# %% [markdown]
# Look at this sheet in every project. What you see here is *all* that the network will ever see; if you cannot tell the
# classes, why should it?

# %%
picture_of(next(tag for tag in tags["images"] if "confusion" in tag))

# %% [markdown]
# Is that the network that read so much more of the test pictures? It is, a moment earlier. Batch norm answers with running
# averages of what it saw in training, and after so few steps these lag behind the weights: "good in training, bad
# afterwards" is among the most frequent complaints about such networks. So every run ends with a check, and where the
# averages are found wanting they are measured anew:

# %%
before, after = result.batch_norm["accuracy_before"], result.batch_norm["accuracy_after"]
if before is not None:
    print(f"validation: {before:.0%} with the running averages, {after:.0%} with statistics measured anew")

# %% [markdown]
# ## Four more species, and fifteen pictures of each
#
# So it goes: the network works, and somebody wants more classes. Fifteen pictures are too few to learn to see from. But
# what the first network has learnt, edges, petals, greens, holds for other flowers as well. *Fine-tuning* begins with its
# weights, trains the new head alone at first and lets the lower layers move slowly.

# %%
for name in later:
    for path in sorted((Path("more/train") / name).iterdir())[15:]:
        path.unlink()
deeper.build("more", "datasets/more")

EPOCHS = 8 if QUICK else 40
common["options"] = {"height": SIZE, "width": SIZE, "batch": 16}
deeper.train("datasets/more", recipe="fast", epochs=EPOCHS, out="runs/more_scratch", **common)
deeper.train("datasets/more", weights="runs/scratch", epochs=EPOCHS, out="runs/more_tuned", **common)

comparison = deeper.compare(["runs/more_tuned", "runs/more_scratch"])
for name, evaluation in comparison.evaluations.items():
    low, high = evaluation.interval
    print(f"{name:13} {evaluation.accuracy:.0%} of {evaluation.total} ({low:.0%} to {high:.0%})")
(pair,) = comparison.pairs
print(f"only tuned right: {pair.only_first}, only scratch right: {pair.only_second}; p = {pair.p_value:.2g}")

# %%
tuned = comparison.evaluations["more_tuned"]
assert tuned.accuracy > 1 / len(later)

# %% [markdown]
# Look at the intervals and at *p* before you tell anybody. Eighty test pictures do not tell much apart, and a network
# that has seen six species for half a minute has not much to pass on: of the tuned one this notebook asks no more than
# to be better than guessing, 25 % of four species. Weights that somebody trained on a million photographs have more to
# give: `--weights torchvision/inception_v3`, or a file from TF-Slim or Keras ([weights](../weights.md)); the network, its
# details and its way of showing pictures come with them. Whether they help on *your* pictures the same comparison tells.
#
# The classes' names travel with the weights, so that nothing can be shifted by one.
#
# ## Take it with you
#
# - Bad files are found when the dataset is built, not at night.
# - Ask which distortions your pictures can bear, and look at what the network sees.
# - Look at each class, with its interval; count rare ones as much as the others.
# - With few pictures, begin with weights that have seen many, and let a paired test say what that brought.
#
# Next: **4 · Why is it wrong?**
