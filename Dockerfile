# Serves the model in /model: docs/how-to/serve.md
FROM python:3.12-slim
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY locks locks
COPY tools/install.sh tools/install.sh
COPY src src
RUN sh tools/install.sh python3 .venv study
RUN mkdir -p /cache && chown 65534 /cache
ENV HEADSTART_CACHE=/cache
USER 65534
EXPOSE 8000
ENTRYPOINT [".venv/bin/headstart", "serve", "--host", "0.0.0.0"]
CMD ["/model"]
