#!/usr/bin/env bash
# image.sh builds the container image with Docker, Podman or Buildah: the first of them that works, or the one that BUILDER names. The
# result is in that program's local storage. Environment:
#   IMAGE     name and tag (docker.io/fairlead/fairlead:dev)
#   VERSION   what `fairlead --version` says (git describe)
#   PLATFORM  linux/amd64 or linux/arm64 (this machine's)
set -euo pipefail
cd "$(dirname "$0")/../.."

image=${IMAGE:-docker.io/fairlead/fairlead:dev}
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo dev)}
options=(--tag "$image" --build-arg "VERSION=$version")
[ -z "${PLATFORM:-}" ] || options+=(--platform "$PLATFORM")

# works reports whether a builder can be used. The docker command is often installed without a daemon.
works() {
	command -v "$1" >/dev/null && "$1" info >/dev/null 2>&1
}

builder=${BUILDER:-}
if [ -z "$builder" ]; then
	for candidate in docker podman buildah; do
		works "$candidate" && { builder=$candidate; break; }
	done
fi

case $builder in
docker) DOCKER_BUILDKIT=1 docker build "${options[@]}" . ;;
# Podman and Buildah write OCI manifests, which every registry and runtime of today takes.
podman) podman build "${options[@]}" . ;;
buildah) buildah build --layers "${options[@]}" . ;;
"")
	echo "image.sh: none of docker, podman and buildah works here; install one, or use hack/image/build.sh" >&2
	exit 1
	;;
*)
	echo "image.sh: unknown BUILDER $builder, want docker, podman or buildah" >&2
	exit 2
	;;
esac
echo "built $image with $builder"
