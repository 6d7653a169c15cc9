# One build, two images, each of one static binary: docker build --target hub (or client) .
FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
# crt-static: the binaries carry their libc, so the images below need nothing else. Without
# --target it would reach the compiler's plugins too (derive), which cannot be static.
# touch: the cache outlives a checkout, and cargo would take an older file for one it has built.
RUN --mount=type=cache,id=ringleader-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=ringleader-target,target=/src/target,sharing=locked \
    set -eu; \
    host=$(rustc -vV | sed -n 's/^host: //p'); \
    find client hub shared -type f -exec touch {} +; \
    RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target "$host" \
        -p ringleader-hub -p ringleader-client; \
    mkdir -p /out/data; \
    echo 'The terms of the rings of a Ringleader hub. Delete them only with all rings empty.' > /out/data/README; \
    cp "target/$host/release/ringleader-hub" "target/$host/release/ringleader" /out

FROM scratch AS hub
COPY --from=build /out/ringleader-hub /ringleader-hub
# The hub's own: a volume that is mounted here begins as a copy, owner and all.
COPY --from=build --chown=65534:65534 /out/data /data
USER 65534:65534
ENV RINGLEADER_DATA_DIR=/data
VOLUME /data
EXPOSE 8080
# Every second, because the clients of docker-compose.yml wait for the first answer.
HEALTHCHECK --interval=1s --timeout=2s --start-period=10s --retries=5 \
    CMD ["/ringleader-hub", "healthcheck"]
ENTRYPOINT ["/ringleader-hub"]

FROM scratch AS client
COPY --from=build /out/ringleader /ringleader
# For `docker compose exec client ringleader job …`.
ENV PATH=/
USER 65534:65534
ENTRYPOINT ["/ringleader"]
CMD ["join"]
