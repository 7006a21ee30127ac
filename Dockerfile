# One file, four small targets:  docker build --target api|worker|train .
#
# api has no torch. worker and train share the layers with it. Written for any builder, the classic
# one included. Versions come from pyproject.toml and constraints.txt, and which torch that is
# (CUDA or CPU) is what pip finds: TORCH_INDEX adds PyTorch's index of CPU builds. An image has no
# Redis of its own to wait for, so it does not start without an address. EXTRAS=otel adds traces.

FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin emaki
WORKDIR /emaki

# pyproject.toml changes often; what it asks for seldom does, and only that invalidates the layers
# below.
FROM base AS requirements
COPY pyproject.toml deploy/requirements.py ./
ARG EXTRAS=
RUN python requirements.py app s3 $EXTRAS > api.txt \
    && python requirements.py draw > models.txt \
    && python requirements.py worker s3 text $EXTRAS > worker.txt \
    && python requirements.py train evaluate > train.txt

FROM base AS api
COPY constraints.txt ./
COPY --from=requirements /emaki/api.txt ./
RUN pip install --constraint constraints.txt --requirement api.txt
COPY wire wire
COPY app app
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
CMD ["sh", "-c", ": ${EMAKI_REDIS_URL:?is missing; set it to redis://:PASSWORD@HOST:6379/0}; exec python -m app"]

FROM base AS torch
ARG TORCH_INDEX=
ENV OMP_WAIT_POLICY=passive
COPY constraints.txt ./
COPY --from=requirements /emaki/models.txt ./
RUN pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
    --constraint constraints.txt --requirement models.txt
COPY models models

FROM torch AS worker
COPY --from=requirements /emaki/worker.txt ./
RUN pip install --constraint constraints.txt --requirement worker.txt
COPY checkpoints shipped
COPY deploy/seed.py deploy/
COPY serve serve
COPY wire wire
COPY worker worker
# An empty volume takes over this folder's owner.
RUN mkdir checkpoints && chown 10001:10001 checkpoints
USER 10001:10001
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s CMD ["python", "-m", "worker.health"]
CMD ["sh", "-c", ": ${EMAKI_REDIS_URL:?is missing; set it to redis://:PASSWORD@HOST:6379/0}; exec python -m worker"]

FROM torch AS train
COPY --from=requirements /emaki/train.txt ./
RUN pip install --constraint constraints.txt --requirement train.txt
COPY configs configs
COPY training training
RUN mkdir checkpoints && chown 10001:10001 checkpoints
USER 10001:10001
ENTRYPOINT ["python", "-m", "training"]
CMD ["--help"]
