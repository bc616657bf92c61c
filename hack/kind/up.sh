#!/usr/bin/env bash
# up.sh creates the kind cluster of config.yaml, which has no kube-proxy, and installs Fairlead in it, built from this folder. It needs
# docker, kind and kubectl. In an existing cluster it rebuilds Fairlead and rolls it out. `kind delete cluster --name fairlead` removes
# everything.
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
BUILDER=docker IMAGE=$image hack/image/image.sh

kind get clusters | grep -x "$cluster" >/dev/null || fresh=yes # grep -q could end before kind has written all
# Not --wait: the nodes do not become ready before Services work, as kindnet needs the cluster IP of the API server.
[ -z "${fresh:-}" ] || kind create cluster --config hack/kind/config.yaml
kind load docker-image "$image" --name "$cluster"

"${kubectl[@]}" apply -k manifests/overlays/kind
# The tag does not change with the image, so running pods have to be restarted.
[ -n "${fresh:-}" ] || "${kubectl[@]}" -n kube-system rollout restart daemonset/fairlead
"${kubectl[@]}" -n kube-system rollout status daemonset/fairlead --timeout=5m
"${kubectl[@]}" wait --for=condition=Ready nodes --all --timeout=5m
"${kubectl[@]}" -n kube-system rollout status deployment/coredns --timeout=5m

# A node asks CoreDNS for its metrics by the cluster IP of its Service.
address=$("${kubectl[@]}" -n kube-system get service kube-dns -o jsonpath='{.spec.clusterIP}')
echo "Waiting until the Service kube-dns answers on $address"
docker exec "$cluster-worker" curl --silent --show-error --fail --output /dev/null --max-time 5 \
	--retry 60 --retry-delay 1 --retry-all-errors "http://$address:9153/metrics"

cat <<END

Services work, and there is no kube-proxy. What to try next:

  kubectl config use-context kind-$cluster
  kubectl create deployment web --image=registry.k8s.io/e2e-test-images/agnhost:2.63.0 --replicas=3 -- /agnhost netexec --http-port=8080
  kubectl expose deployment web --port=80 --target-port=8080
  kubectl run client --rm -it --restart=Never --image=registry.k8s.io/e2e-test-images/agnhost:2.63.0 --command -- curl -s http://web/hostname
  docker exec $cluster-worker sh -c 'iptables-save -t nat | grep FL-S-web'      # its rules on a node
  kubectl -n kube-system logs -l app.kubernetes.io/name=fairlead --prefix
  kubectl -n kube-system edit configmap fairlead      # mode: ipvs, if the host has ip_vs; it applies with the next line
  kubectl -n kube-system rollout restart daemonset fairlead
  make kind      # after a change: builds and rolls out again
  kind delete cluster --name $cluster
END
