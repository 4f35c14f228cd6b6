# dreg on the CPU:   docker build -t dreg .
# In any folder:     docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" dreg train --estimator dreg
FROM python:3.11-slim
# torch.compile needs a compiler; it makes the likelihood's arithmetic several times as fast.
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
# A smaller image, without CUDA:  --build-arg PIP_EXTRA_INDEX_URL=(the index of PyTorch's CPU builds)
ARG PIP_EXTRA_INDEX_URL
COPY . /dreg
RUN pip install --no-cache-dir /dreg
ENV HOME=/tmp USER=dreg DREG_DATA_DIR=/data/data
WORKDIR /data
ENTRYPOINT ["dreg"]
