# The command lucyd, without napari and Qt.
#   docker build -t lucyd .
#   docker run --rm -v "$PWD:/data" --user "$(id -u)" lucyd deconvolve stack.tif -o restored.ome.tif
# For NVIDIA cards, with the CUDA version that suits the driver, and `docker run --gpus all …`:
#   docker build -t lucyd-cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 .
ARG PYTHON_VERSION=3.11
FROM python:${PYTHON_VERSION}-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1
COPY . /source
RUN /source/scripts/install_server.sh /opt/lucyd

FROM python:${PYTHON_VERSION}-slim-bookworm
COPY --from=build /opt/lucyd /opt/lucyd
ENV PATH=/opt/lucyd/bin:$PATH
# A folder for the user's own models that every user of the container may write.
ENV NAPARI_LUCYD_MODELS=/models
RUN mkdir -m 1777 /models
WORKDIR /data
ENTRYPOINT ["lucyd"]
CMD ["--help"]
