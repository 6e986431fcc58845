# %% [markdown]
# # 5 · Ship it
#
# A network that lives in a notebook helps nobody. Here it moves out: as a function from numpy arrays to answers, as files
# for other programs, as a server with a page for people. One promise runs through all of it: **the same picture gets the
# same answer everywhere**, because preprocessing exists once and travels with the weights.
#
# The quick form takes about a minute; the full one only trains longer first, as long as the recipe says.

# %%
import os
import time
from pathlib import Path

import numpy as np
from PIL import Image

import deeper
from deeper.runs import dataset_for

QUICK = os.environ.get("DEEPER_GUIDE", "quick") == "quick"
SOURCE = "mnist" if (Path(os.environ.get("DEEPER_DATA", "")) / "mnist").is_dir() else "digits"

dataset = dataset_for(SOURCE)
deeper.train(dataset, model="nielsen", recipe="fast", epochs=1 if QUICK else None, out="runs/first", quiet=True)
sorted(path.name for path in Path("runs/first/bundle").iterdir())

# %% [markdown]
# The *bundle* is what you ship: what a person wants to know (`bundle.json`: classes, preprocessing, how good, trained on
# what), the weights, and a few *golden* pictures with the answers they must get. Nothing in it is a pickle; loading
# somebody else's bundle runs none of their code.
#
# ## Numpy in, answers out

# %%
classifier = deeper.Classifier("runs/first")
test = dataset.split("test")
batch = np.stack([test.picture(i) for i in range(1000)])  # uint8, 1000 × 28 × 28 × 1

classifier(batch[0])

# %% [markdown]
# One picture gives one prediction, an array of pictures a list, in order. Files, bytes, Pillow images and lists of them
# work as well; so do floats from 0 to 1, and pictures of other sizes are fitted as in training. After the single epoch
# of the quick form more than 96 % of these digits must be right, or this notebook fails.

# %%
began = time.perf_counter()
answers = classifier(batch)
seconds = time.perf_counter() - began
right = np.mean([one.label == test.classes[label] for one, label in zip(answers, test.labels)])
print(f"{right:.1%} of 1,000 right, {1000 / seconds:,.0f} pictures a second on this machine")
print({name: round(probability, 5) for name, probability in answers[0].top(3)})
assert right > (0.96 if SOURCE == "mnist" else 0.6)

Image.fromarray(batch[0][..., 0]).resize((280, 280)).save("seven.png")
assert classifier("seven.png").label == classifier(batch[0].astype("float32") / 255).label == answers[0].label

# %% [markdown]
# ### When it should not answer
#
# Most wrong answers in use are right answers to a wrong *input*: black on white where it learnt white on black, an empty
# frame, a hand before the camera. A network always names a class, and often surely. So the bundle knows what the training
# pictures looked like, and the answer says when the question is strange:

# %%
from deeper.monitor.grids import sheet

digit = batch[0]
noise = np.random.default_rng(0).integers(0, 256, digit.shape, dtype=np.uint8)
strange = [digit, 255 - digit, np.zeros_like(digit), noise]
for name, one in zip(("as it is", "inverted", "empty", "noise"), classifier(strange)):
    print(f"{name:12} {one.label}  {one.probability:4.0%}  {one.unsure or 'fine'}")
assert classifier(255 - digit).unsure and not classifier(digit).unsure
Image.fromarray(sheet(strange, [[] for _ in strange]))

# %% [markdown]
# And where a shape could mean two things, it asks instead of guessing. The guide of 2017 fed MNIST as rows of 784:

# %%
try:
    classifier(batch.reshape(1000, 784))
except deeper.DeeperError as error:
    print(error)

# %% [markdown]
# ## For other programs
#
# `deeper export` writes ONNX, OpenVINO, int8, `torch.export` and TensorFlow's SavedModel. Each takes the same uint8
# pictures, with normalisation inside the graph, and each is compared with the bundle *at once*: an export that disagrees
# is never written.

# %% language="bash"
# deeper export runs/first --to onnx,openvino,openvino-int8 --report --limit 500 2> progress.log

# %% [markdown]
# In the first lines each export is compared with the bundle on 1,000 validation pictures; below, all are run and timed.
# int8 is four times smaller and changes an answer here or there; it is never chosen unless you ask for it. Which engine
# is fastest, and by how much, depends on the network, the machine and whatever else it is doing, so measure there where
# the work will be done. What was measured of other networks stands in [results](../results.md).
#
# `Classifier` runs on any of them, and takes the OpenVINO export by itself where there is a current one:

# %%
for engine in ("torch", "openvino", "onnx"):
    one = deeper.Classifier("runs/first", engine=engine)(batch[0])
    print(f"{engine:9} {one.label}  {one.probability:.6f}")
    assert abs(one.probability - answers[0].probability) < 1e-4

# %% [markdown]
# ## A server
#
# `deeper serve runs/first` is a server with a page for people, `POST /predict` for scripts, and the two protocols that
# other people's clients speak: the Open Inference Protocol v2 (Triton, KServe) and TensorFlow Serving's REST. It listens
# on this machine alone unless told otherwise.

# %%
import subprocess

server = subprocess.Popen(
    ["deeper", "serve", "runs/first", "--port", "0"],
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
)
address = next(line for line in server.stdout if "serving on" in line).split()[2]
assert address.startswith("http://127.0.0.1:")

# %% [markdown]
# A client, in ten lines, of nothing but Python's own library:

# %%
import json
import urllib.request


def ask(path, body=None):
    with urllib.request.urlopen(address + path, data=body, timeout=30) as response:
        return response.read()


answer = json.loads(ask("/predict?top=2", Path("seven.png").read_bytes()))
print(answer["class"], f"{answer['probability']:.3f}", answer["unsure"])
assert answer["class"] == answers[0].label

# %% [markdown]
# With `curl` it is one: `curl --data-binary @seven.png http://127.0.0.1:8000/predict`. In the browser, open the server's
# address: there a picture can be dropped, pasted, drawn or taken with the **camera**, on a phone as well (browsers give a
# page the camera only over HTTPS or on the machine itself, so put a proxy with a certificate before it).
#
# ![The server's page with a digit and what the network takes it for](../images/serve.png)
#
# The same in the Open Inference Protocol, as Triton's own client would send it, ten pictures in one tensor:

# %%
tensor = {"name": "images", "shape": [10, 28, 28, 1], "datatype": "UINT8", "data": batch[:10].ravel().tolist()}
request = json.dumps({"inputs": [tensor], "outputs": [{"name": "class"}]}).encode()
output = json.loads(ask("/v2/models/first/infer", request))["outputs"][0]
print(" ".join(output["data"]))
assert output["data"] == [one.label for one in answers[:10]]

# %% [markdown]
# ### What to monitor
#
# `/metrics` is in Prometheus' format. Latency and errors are what everybody watches. What tells you that the *world* has
# changed, long before anybody complains, are the other three: the shares of the classes, the confidence, and how many
# answers were `unsure`. Let somebody mount the camera wrongly, and see:

# %%
for picture in batch[:40]:
    file = Path("frame.png")
    Image.fromarray(255 - picture[..., 0]).save(file)
    ask("/predict", file.read_bytes())

lines = ask("/metrics").decode().splitlines()
wanted = ("deeper_unsure_answers_total", "deeper_confidence_count", "deeper_queued", "deeper_requests_total")
print("\n".join(line for line in lines if line.startswith(wanted)))
unsure = next(float(line.split()[-1]) for line in lines if line.startswith("deeper_unsure_answers_total"))
assert unsure >= 30

# %%
server.terminate()  # what was taken is answered, then it ends
server.wait(timeout=30)
print("ended")

# %% [markdown]
# ## Take it with you
#
# - Ship the bundle, not the notebook: classes, preprocessing and golden answers belong to the weights.
# - An export is right when it was compared, and fast when it was measured, there where it runs.
# - Watch what goes in and what comes out, not only how long it takes.
#
# That is the whole way: from a block to a network, from pictures to a run, from its errors to their cause, and out into
# the world. The [verbs](../verbs/index.md) are in `deeper --help`, too; the [formats](../formats.md) tell what every file
# holds. Now train something of your own.
