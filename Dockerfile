# An image with asyncrl and the environments that need no further files:
#
#     docker build -t asyncrl .
#     docker run --rm -it --shm-size=256m -v "$PWD/runs:/work/runs" asyncrl train CartPole-v1
#
# Untested: this file was written where no container engine was available, so it has never been built.

FROM python:3.12-slim

WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir --constraint constraints.txt ".[classic-control,mujoco,minatar,labyrinth,fast,analysis,export]"

RUN useradd --create-home asyncrl && mkdir -p /work/runs && chown -R asyncrl /work
USER asyncrl
WORKDIR /work

ENTRYPOINT ["asyncrl"]
CMD ["--help"]
