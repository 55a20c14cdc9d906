# syntax=docker/dockerfile:1
# One image for the Dagster UI, its daemon, the workers that they start, and the review pages.
FROM python:3.11-slim-bookworm

# hadolint ignore=DL3064
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    TOKENIZERS_PARALLELISM=false SUPPLY_CHAIN_HOME=/state DAGSTER_HOME=/state/dagster
WORKDIR /app
RUN useradd --create-home --uid 10001 chain && mkdir -p /state/dagster && chown -R chain:chain /state

# The lock first: these layers stay while only our own files change.
COPY constraints.txt pyproject.toml ./
ARG PIP_INDEX_URL
RUN pip install "$(grep '^torch==' constraints.txt)" \
    && python -c "import tomllib; print('\n'.join(tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies']))" > /tmp/core.txt \
    && pip install -c constraints.txt -r /tmp/core.txt "setuptools>=77"

COPY . .
RUN pip install --no-deps --no-build-isolation -e .

USER 10001
VOLUME /state
EXPOSE 3000 8700
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/server_info', timeout=4)"]
CMD ["dagster-webserver", "-w", "workspace.yaml", "-h", "0.0.0.0", "-p", "3000"]
