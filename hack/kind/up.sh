#!/usr/bin/env bash
# up.sh makes the kind cluster of config.yaml, which has no kube-proxy, and installs Fairlead in it, built from this folder. It needs
# docker, kind and kubectl. Run again, it builds Fairlead anew and rolls it out. `kind delete cluster --name fairlead` removes it all.
set -euo pipefail
cd "$(dirname "$0")/../.."

cluster=fairlead
image=docker.io/fairlead/fairlead:dev
kubectl=(kubectl --context "kind-$cluster")

missing=
for program in docker kind kubectl; do
	command -v "$program" >/dev/null || missing="$missing $program"
done
[ -z "$missing" ] || { echo "up.sh: install these programs first:$missing" >&2; exit 1; }

# Before the cluster: a build that fails leaves nothing behind.
docker build --tag "$image" --build-arg "VERSION=$(git describe --tags --always --dirty 2>/dev/null || echo dev)" .

kind get clusters | grep -qx "$cluster" || fresh=yes
# Not --wait: the nodes are not ready before there is a Service network, as kindnet needs the API server's cluster IP.
[ -z "${fresh:-}" ] || kind create cluster --config hack/kind/config.yaml
kind load docker-image "$image" --name "$cluster"

"${kubectl[@]}" apply -k manifests/overlays/kind
# The tag is the same whatever is in the image, so pods that run already have to be told.
[ -n "${fresh:-}" ] || "${kubectl[@]}" -n kube-system rollout restart daemonset/fairlead
"${kubectl[@]}" -n kube-system rollout status daemonset/fairlead --timeout=5m
"${kubectl[@]}" wait --for=condition=Ready nodes --all --timeout=5m
"${kubectl[@]}" -n kube-system rollout status deployment/coredns --timeout=5m
echo "Fairlead forwards in the cluster. To look around: kubectl --context kind-$cluster get pods -A"
