# Every service of Forewarn as a small image of its own, from one build:
#
#   docker build --target alerter -t forewarn-alerter .
#
# docker-compose.yml builds all of them. The cache mounts need BuildKit, which is Docker's builder since version 23 and is
# switched on by DOCKER_BUILDKIT=1 before that; there is no `syntax` line, so that no further image has to be fetched.

# The same Debian on both sides: a binary must not find an older glibc than it was linked with. To pin them for good, or
# to take them from a registry of your own: --build-arg RUST_IMAGE=…@sha256:…
ARG RUST_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim


# All binaries in one run of cargo, since the services share nearly all of their crates. The caches stay with the builder
# between builds: after a change only what it touches is compiled. They are not part of an image, so the results are
# copied out of them at the end.
FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
ENV CARGO_TARGET_DIR=/target
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/target,sharing=locked \
    cargo build --release --locked \
        -p forewarn-ingestion -p forewarn-stream-processor -p forewarn-predictor \
        -p forewarn-alerter -p forewarn-trainer -p forewarn-api \
    && mkdir /out \
    && for name in ingestion stream-processor predictor alerter trainer api; do \
        install /target/release/forewarn-$name /out/ || exit; \
    done \
    # The names of functions stay, for backtraces; their line tables are most of a binary's size.
    && strip --strip-debug /out/*


# What all images have in common. Nothing is installed: the certificates of authorities, which webhooks need, come from
# the build image, and bash, which is the health check, is there.
FROM ${RUNTIME_IMAGE} AS runtime
LABEL org.opencontainers.image.title="Forewarn" \
      org.opencontainers.image.description="Says what will fail, when and why, before it fails." \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# The number is far from those of people and of system users, and the same in every image: volumes are shared by it. A
# new volume takes over the owner of the folder that it is mounted on, so the folders are made here.
RUN groupadd --gid 65532 forewarn \
    && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /var/lib/forewarn --shell /usr/sbin/nologin forewarn \
    && install -d -o forewarn -g forewarn /var/lib/forewarn /var/lib/forewarn/checkpoints /var/lib/forewarn/models \
        /etc/forewarn /etc/forewarn/secrets
COPY --chmod=0755 deploy/containers/forewarn-ready /usr/local/bin/
WORKDIR /var/lib/forewarn
# Inside a container an address is closed by not publishing its port, not by listening on the loopback interface.
ENV FOREWARN__SERVICE__ADDRESS=0.0.0.0 \
    FOREWARN__CHECKPOINTS__PATH=/var/lib/forewarn/checkpoints
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532


# Makes the passwords and tokens of an installation of docker-compose.yml, and ends.
FROM runtime AS secrets
COPY --chmod=0755 deploy/containers/forewarn-secrets /usr/local/bin/
ENTRYPOINT ["forewarn-secrets"]

FROM runtime AS ingestion
COPY --from=build /out/forewarn-ingestion /usr/local/bin/
ENV FOREWARN__INGESTION__LISTEN=0.0.0.0:8001
EXPOSE 8001
ENTRYPOINT ["forewarn-ingestion"]

FROM runtime AS stream-processor
COPY --from=build /out/forewarn-stream-processor /usr/local/bin/
EXPOSE 8002
ENTRYPOINT ["forewarn-stream-processor"]

FROM runtime AS predictor
COPY --from=build /out/forewarn-predictor /usr/local/bin/
EXPOSE 8003
ENTRYPOINT ["forewarn-predictor"]

FROM runtime AS alerter
COPY --from=build /out/forewarn-alerter /usr/local/bin/
EXPOSE 8004
ENTRYPOINT ["forewarn-alerter"]

FROM runtime AS trainer
COPY --from=build /out/forewarn-trainer /usr/local/bin/
ENV FOREWARN__TRAINER__LISTEN=0.0.0.0:8005
EXPOSE 8005
ENTRYPOINT ["forewarn-trainer"]

FROM runtime AS api
COPY --from=build /out/forewarn-api /usr/local/bin/
ENV FOREWARN__API__LISTEN=0.0.0.0:3000
EXPOSE 3000
ENTRYPOINT ["forewarn-api"]
