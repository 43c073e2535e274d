# The images of Portico, each with one program: `control-plane`, `node`, and `portico` (the command line, and the sample
# services of the compose stack).
#
#   docker build --target node --tag portico-node .
#
# Plain `docker build` is enough, BuildKit is not needed. `--build-arg PROFILE=dev` builds faster and runs slower.

ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS build
ARG PROFILE=release
WORKDIR /portico

# What others wrote is compiled first, against crates that are empty yet: this layer stays until a manifest changes.
COPY Cargo.toml Cargo.lock ./
COPY proto/Cargo.toml proto/
COPY otel/Cargo.toml otel/
COPY control-plane/Cargo.toml control-plane/
COPY data-plane/Cargo.toml data-plane/
RUN mkdir -p proto/src otel/src control-plane/src data-plane/src data-plane/examples cli/src/bin tests \
 && touch proto/src/lib.rs otel/src/lib.rs control-plane/src/lib.rs data-plane/src/lib.rs cli/src/lib.rs \
 && for main in proto/build.rs control-plane/build.rs tests/main.rs tests/bench.rs \
        data-plane/examples/keys.rs data-plane/examples/limiter.rs data-plane/examples/router.rs data-plane/examples/tokens.rs \
        cli/src/bin/portico.rs cli/src/bin/portico-control-plane.rs cli/src/bin/portico-node.rs; do \
        echo 'fn main() {}' >$main; \
    done \
 && cargo build --locked --bins --profile "$PROFILE"

# The clock of a file says when it was changed, which may be before the empty crates were built.
COPY migrations migrations
COPY proto proto
COPY otel otel
COPY control-plane control-plane
COPY data-plane data-plane
COPY cli cli
RUN find migrations proto otel control-plane data-plane cli -type f -exec touch {} + \
 && cargo build --locked --bins --profile "$PROFILE" \
 && mkdir -p /out/state \
 && for program in portico portico-control-plane portico-node; do \
        strip --strip-debug -o /out/$program target/$(test "$PROFILE" = dev && echo debug || echo "$PROFILE")/$program; \
    done

# A base without a shell or a package manager; its user has the number 65532. State goes to /var/lib/portico, the rest
# of the file system may be read-only.
FROM ${RUNTIME_IMAGE} AS plane
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build --chown=65532:65532 /out/state/ /var/lib/portico/
ENV PORTICO_DATA_DIR=/var/lib/portico
USER 65532:65532
WORKDIR /var/lib/portico

FROM plane AS control-plane
LABEL org.opencontainers.image.title="Portico control plane"
COPY --from=build /out/portico-control-plane /usr/local/bin/
# For a volume with the authority that control planes share (`--tls-ca-dir`).
COPY --from=build --chown=65532:65532 /out/state/ /var/lib/portico-ca/
ENV PORTICO_ADMIN_LISTEN=0.0.0.0:7080 PORTICO_DISCOVERY_LISTEN=0.0.0.0:7081
EXPOSE 7080 7081
VOLUME /var/lib/portico
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s CMD ["portico-control-plane", "healthcheck"]
ENTRYPOINT ["portico-control-plane"]

FROM plane AS node
LABEL org.opencontainers.image.title="Portico node"
COPY --from=build /out/portico-node /usr/local/bin/
ENV PORTICO_LISTEN=http=0.0.0.0:8080 PORTICO_STATUS_LISTEN=0.0.0.0:7090
EXPOSE 8080 7090
VOLUME /var/lib/portico
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s CMD ["portico-node", "healthcheck"]
ENTRYPOINT ["portico-node"]

FROM plane AS portico
LABEL org.opencontainers.image.title="Portico command line"
COPY --from=build /out/portico /usr/local/bin/
ENTRYPOINT ["portico"]
