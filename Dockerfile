# An image of the server. Functions keep their sandbox when the container may make namespaces: see compose.yaml.

FROM python:3.13-slim-trixie AS build
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Makefile pyproject.toml README.md LICENSE package.json package-lock.json requirements.lock requirements-node.lock ./
COPY scripts scripts
COPY src src
COPY docs docs
RUN make wheel

FROM python:3.13-slim-trixie
# For pg_dump, which takes the backup before an upgrade of a PostgreSQL database.
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends postgresql-client \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin isolet \
    && install -d -o isolet -g isolet -m 0700 /data
COPY requirements-postgres.lock /tmp/
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --requirement /tmp/requirements-postgres.lock
COPY --from=build /src/dist /tmp/dist
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --no-index /tmp/dist/*.whl
ENV ISOLET_HOST=0.0.0.0 ISOLET_PORT=7878 ISOLET_DASHBOARD_PORT=7879 ISOLET_DATA_DIR=/data ISOLET_LOG_FORMAT=json
USER isolet
WORKDIR /data
VOLUME /data
EXPOSE 7878 7879
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"ISOLET_PORT\"]}/healthz', timeout=4)"]
ENTRYPOINT ["isolet"]
CMD ["serve"]
