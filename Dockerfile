# Fairlead's image, for linux/amd64 and linux/arm64:
#
#   docker build -t fairlead .
#   docker buildx build --platform linux/amd64,linux/arm64 -t REGISTRY/fairlead:VERSION --build-arg VERSION=VERSION --push .
#
# hack/image/build.sh builds it where there is no registry to take the bases from.

# Compiled on the machine's own platform, whichever the image is for.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
# How go builds, and from where, as far as the machine has its own mind about it. It does not reach the image.
ARG GOFLAGS
ARG GOPROXY
ARG GOSUMDB
ARG GOMODCACHE
ARG GOCACHE
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X github.com/fairlead/fairlead/pkg/fairlead.release=$VERSION" -o /fairlead ./cmd/fairlead

FROM debian:bookworm-slim
# iptables: both variants, legacy and nft; Fairlead finds out which one the node uses. kmod: legacy iptables loads its modules
# by modprobe, in the privileged init container.
RUN apt-get update \
    && apt-get install -y --no-install-recommends iptables kmod \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/*
COPY --from=build /fairlead /usr/local/bin/fairlead
ARG VERSION
LABEL org.opencontainers.image.title="Fairlead" \
      org.opencontainers.image.description="Forwards the traffic of Kubernetes Services on a node, in place of kube-proxy" \
      org.opencontainers.image.source="https://github.com/fairlead/fairlead" \
      org.opencontainers.image.documentation="https://github.com/fairlead/fairlead/blob/main/docs/install.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
# Not USER: legacy iptables takes /run/xtables.lock, which is root's on the node, and file capabilities would not outlive
# allowPrivilegeEscalation: false. Root here means CAP_NET_ADMIN and CAP_NET_RAW, where it runs as manifests/ have it.
ENTRYPOINT ["fairlead"]
CMD ["run"]
