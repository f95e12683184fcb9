# One image for every part: the command says which. `docker build -t spendstream .`
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/spendstream && /opt/spendstream/bin/pip install --no-cache-dir uv==0.13.8
COPY pyproject.toml requirements.lock README.md LICENSE ./
RUN VIRTUAL_ENV=/opt/spendstream /opt/spendstream/bin/uv pip install --no-cache --require-hashes -r requirements.lock
COPY . .
RUN VIRTUAL_ENV=/opt/spendstream /opt/spendstream/bin/uv pip install --no-cache --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 10001 spendstream && install -d -o spendstream /var/lib/spendstream
COPY --from=build /opt/spendstream /opt/spendstream
ENV PATH=/opt/spendstream/bin:$PATH PYTHONUNBUFFERED=1 SPENDSTREAM_DATA_DIR=/var/lib/spendstream
USER spendstream
VOLUME /var/lib/spendstream
ENTRYPOINT ["spendstream"]
CMD ["--help"]
