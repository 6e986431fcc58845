# Untested: no container engine was at hand when this was written. Its pip install was tried outside one.
#
#   docker build -t deeper .
#   docker run --rm deeper                                                             the greeting
#   docker run --rm -v "$PWD/photos:/photos:ro" -v deeper:/work deeper train /photos --out runs/photos
#   docker run --rm -p 127.0.0.1:8000:8000 -v deeper:/work deeper serve runs/photos --host 0.0.0.0
FROM python:3.12-slim

# simplejpeg, PyTorch and the other wheels bring their libraries; a C++ compiler makes training quicker.
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*

WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE MANIFEST.in ./
COPY deeper deeper
# The constraints pin PyTorch. On Linux its package is built for CUDA: several gigabytes. Where an index of CPU builds
# is configured (PIP_EXTRA_INDEX_URL as a build argument), pip takes from there.
ARG PIP_EXTRA_INDEX_URL
RUN pip install --no-cache-dir -c constraints.txt '.[onnx,openvino,inspect,serve]'

# Data sets, runs and caches are in one volume that belongs to a user without rights.
RUN useradd --create-home --uid 1000 deeper && install -d -o deeper -g deeper /work
USER deeper
WORKDIR /work
VOLUME /work
ENV XDG_CACHE_HOME=/work/.cache
EXPOSE 8000
ENTRYPOINT ["deeper"]
