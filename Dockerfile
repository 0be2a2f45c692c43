# The example application, served by gunicorn.

FROM python:3.13-slim AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src

# What we depend on changes less often than our own code: a layer of its own.
COPY pyproject.toml ./
RUN python -c "import tomllib; \
project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*project['dependencies'], *project['optional-dependencies']['example'], sep='\n')" \
    > requirements.txt \
    && pip install -r requirements.txt

COPY README.md LICENSE ./
COPY flask_recurring flask_recurring
COPY templates templates
COPY static static
RUN pip install ".[example]"


FROM python:3.13-slim

ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --system --uid 10001 --create-home --shell /usr/sbin/nologin app \
    && mkdir -p /app/instance \
    && chown app /app/instance
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY example_app example_app
USER app

EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:5000/healthz', timeout=4)"]

# gunicorn takes more options from GUNICORN_CMD_ARGS, and the number of processes from this.
ENV WEB_CONCURRENCY=2
# Time enough for running jobs to be handed back, and less than the 10 s after which Docker kills.
CMD ["gunicorn", "example_app:create_app()", "--bind", "0.0.0.0:5000", \
     "--worker-class", "gthread", "--threads", "8", "--worker-tmp-dir", "/dev/shm", \
     "--graceful-timeout", "9", "--access-logfile", "-"]
