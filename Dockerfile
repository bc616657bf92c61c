# Fairlead's image, for linux/amd64 and linux/arm64. `make image` builds it for this machine with Docker, Podman or Buildah. By hand:
#
#   docker build -t fairlead .
#   docker buildx build --platform linux/amd64,linux/arm64 -t REGISTRY/fairlead:VERSION --build-arg VERSION=VERSION --push .
#
# hack/image/build.sh builds it without a registry, on base images made from Debian's packages.

# The compiler always runs on the build machine's own platform and cross-compiles for the target.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
# Go settings of the build machine, for builds without network access. They do not reach the final image.
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
# iptables has both variants, legacy and nft; Fairlead detects which one the node uses. ipset is for inspecting the sets of IPVS mode.
# kmod is for the privileged init container: legacy iptables loads its kernel modules with modprobe. Nothing in the image needs a
# shell at run time.
RUN apt-get update \
    && apt-get install -y --no-install-recommends iptables ipset kmod \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/*
COPY --from=build /fairlead /usr/local/bin/fairlead
# The path in kubeadm's DaemonSet, so that replacing the image is enough there.
RUN ln -s fairlead /usr/local/bin/kube-proxy
ARG VERSION
LABEL org.opencontainers.image.title="Fairlead" \
      org.opencontainers.image.description="kube-proxy replacement with iptables and IPVS modes" \
      org.opencontainers.image.source="https://github.com/fairlead/fairlead" \
      org.opencontainers.image.documentation="https://github.com/fairlead/fairlead/blob/main/docs/install.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
# The user stays root: /run/xtables.lock on the node belongs to root, and file capabilities have no effect with
# allowPrivilegeEscalation: false. In manifests/, root has no capabilities but CAP_NET_ADMIN and CAP_NET_RAW.
ENTRYPOINT ["fairlead"]
CMD ["run"]
