# docker build -t gradientd .
# head -c 32 /dev/urandom | base64 > token
# docker run -p 127.0.0.1:8080:8080 -v gradientd:/data -v "$PWD/token:/run/secrets/gradientd_token:ro" gradientd
# curl -H "Authorization: Bearer $(cat token)" http://127.0.0.1:8080/v1/models
# User 10001 must be able to read the token (chown 10001 token). Without one it does not start, but for a port that nobody else reaches:
# docker run -p 127.0.0.1:8080:8080 -e GRADIENTD_INSECURE_NO_AUTH=true -v gradientd:/data gradientd
# Training takes as many threads as --cpus grants processors, or docker run -e GRADIENTD_TRAINING_THREADS=N …
# With a shell inside: docker build --build-arg BASE=debian:bookworm-slim -t gradientd .
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock build.rs openapi.yaml ./
COPY migrations migrations
COPY src src
# The caches outlive the build, which one at a time may use: a change of src compiles src alone, and is always seen, whatever
# its date. Debug information stays out of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target,sharing=locked \
    touch build.rs src/lib.rs src/main.rs && \
    cargo build --release --locked --bin gradientd && \
    install -D -m 755 target/release/gradientd /out/gradientd && \
    strip --strip-debug /out/gradientd && \
    install -d -o 10001 -g 10001 /out/data

FROM ${BASE}
LABEL org.opencontainers.image.title="gradientd" \
      org.opencontainers.image.description="Trains and serves neural networks over HTTP" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /out/gradientd /usr/local/bin/gradientd
COPY --from=build --chown=10001:10001 /out/data /data
COPY LICENSE* /usr/share/doc/gradientd/
# Another port is set here too, or the health check asks the wrong one: docker run -e GRADIENTD_LISTEN=0.0.0.0:9000 …
# The token is in the file, and not in the image: this is where it is looked for.
# hadolint ignore=DL3064
ENV GRADIENTD_LISTEN=0.0.0.0:8080 \
    GRADIENTD_DATA_DIR=/data \
    GRADIENTD_TOKEN_FILE=/run/secrets/gradientd_token
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/gradientd", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/gradientd"]
