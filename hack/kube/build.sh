#!/bin/sh
# build.sh NAME... builds Kubernetes commands (kube-apiserver, kube-proxy) of
# the version that go.mod pins into the bin folder of Fairlead's cache:
#   ${FAIRLEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fairlead}/bin
# A command that has already been built from this go.mod and go.sum, with the
# same flags, is left alone.
set -eu

[ $# -gt 0 ] || { echo "usage: build.sh NAME..." >&2; exit 2; }

bin=${FAIRLEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fairlead}/bin
mkdir -p "$bin"
bin=$(cd "$bin" && pwd)
cd "$(dirname "$0")"

# Kubernetes takes its version from the linker; without it, every command calls
# itself v0.0.0-master.
ldflags() {
	version=$(sed -n 's|.*k8s\.io/kubernetes \(v[^ ]*\).*|\1|p' go.mod)
	minor=${version#v1.}
	printf '%s' "-s -w"
	for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
		printf ' -X %s' "$package.gitVersion=$version" \
			"$package.gitMajor=1" "$package.gitMinor=${minor%%.*}" \
			"$package.gitCommit=unknown" "$package.gitTreeState=clean" \
			"$package.buildDate=1970-01-01T00:00:00Z"
	done
}

# build NAME makes $bin/NAME. The rename comes last, so that whoever runs the
# command meanwhile has the old file or the new one and never half of it.
# Listing the dependencies downloads them. If this script is killed, the kernel
# interrupts go, which then removes its temporary files.
build() {
	new=$bin/.$1.$$
	trap 'rm -f "$new"' EXIT
	../retry.sh go list -deps "k8s.io/kubernetes/cmd/$1" >/dev/null
	setpriv --pdeathsig INT go build -trimpath -ldflags "$flags" -o "$new" "k8s.io/kubernetes/cmd/$1"
	rm -f "$bin/.$1.stamp"
	mv "$new" "$bin/$1"
	echo "$stamp" >"$bin/.$1.stamp"
}

export CGO_ENABLED=0
flags=$(ldflags)
stamp=$({ cat go.mod go.sum; echo "$flags"; } | sha256sum | cut -d' ' -f1)

# One build at a time. Whatever it finds half done, a killed one has left.
exec 9>"$bin/.lock"
flock -n 9 || { echo "waiting for another build"; flock 9; }
rm -f "$bin"/.*.[0-9]*

for name in "$@"; do
	if [ -x "$bin/$name" ] && [ "$(cat "$bin/.$name.stamp" 2>/dev/null)" = "$stamp" ]; then
		echo "$bin/$name is up to date"
		continue
	fi
	echo "building $bin/$name"
	build "$name"
done
