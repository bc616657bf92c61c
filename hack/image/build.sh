#!/usr/bin/env bash
# build.sh OUT.tar builds the Dockerfile without a registry, for this machine's platform, and writes the image as an OCI archive. Its
# name is docker.io/fairlead/fairlead:dev, or IMAGE. It needs root on Debian, and installs the packages that it needs. It makes the base
# images that the Dockerfile names: Debian's from Debian's packages, Go's from that one and the Go toolchain of this machine. They and
# the layers are kept in
#   ${FAIRLEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fairlead}/image
set -euo pipefail

[ $# = 1 ] || { sed -n '2,/^set/{/^#/s/^# \?//p}' "$0" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "build.sh: not root" >&2; exit 1; }

out=$(realpath -m "$1")
cd "$(dirname "$0")/../.."
image=${IMAGE:-docker.io/fairlead/fairlead:dev}
cache=${FAIRLEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fairlead}/image
suite=bookworm
debian=docker.io/library/debian:$suite-slim
golang=docker.io/library/golang:1.26-$suite

# build runs buildah with its storage in the cache and without any registry.
build() {
	TMPDIR=$cache/tmp buildah --root "$cache/storage" --runroot "$work/run" --registries-conf "$work/registries.conf" "$@"
}

prepare() {
	hack/install.sh buildah debootstrap
	mkdir -p "$cache/tmp" "$(dirname "$out")"
	cache=$(cd "$cache" && pwd)
	exec 9>"$cache/lock"
	flock 9
	rm -rf "$cache/tmp"/*
	work=$(mktemp -d -p "$cache/tmp")
	trap end EXIT
	echo 'unqualified-search-registries = ["docker.io"]' >"$work/registries.conf"
	build rm --all >/dev/null # of a build that was killed
}

end() {
	umount --recursive "$cache/storage/overlay" 2>/dev/null || true
	rm -rf "$work"
}

# sources prints this machine's mirrors of Debian as lines of a sources.list for the suite.
sources() {
	# shellcheck disable=SC2016 # apt expands these
	apt-get indextargets --format '$(ORIGIN) $(SITE) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' | sed -nE '
		s/^Debian (\S+) [a-z]+ main$/deb \1 '"$suite"' main/p
		s/^Debian (\S+) [a-z]+-updates main$/deb \1 '"$suite"'-updates main/p
		s/^Debian (\S+) [a-z]+-security main$/deb \1 '"$suite"'-security main/p' | sort -u
}

# bootstrap makes the base image of Debian, without what the slim image excludes.
bootstrap() {
	local root=$work/debian list mirror
	list=$(sources)
	[ -n "$list" ] || { apt-get -qq update && list=$(sources); }
	mirror=$(sed -n "s/^deb \(.*\) $suite main$/\1/p" <<<"$list" | head -n 1)
	[ -n "$mirror" ] || { echo "build.sh: apt's sources have no Debian to bootstrap the base image from" >&2; exit 1; }
	mkdir -p "$cache/packages"
	debootstrap --variant=minbase --cache-dir="$cache/packages" "$suite" "$root" "$mirror" >"$work/log" || { tail -n 30 "$work/log" >&2; exit 1; }
	rm "$root/debootstrap" -rf
	echo "$list" >"$root/etc/apt/sources.list"
	slim "$root"
	commit "$root" "$debian" --cmd bash
}

slim() {
	local left_out=(/usr/share/{doc,man,locale,info,lintian,linda,groff})
	printf 'path-exclude %s/*\n' "${left_out[@]}" >"$1/etc/dpkg/dpkg.cfg.d/slim"
	printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
	chmod +x "$1/usr/sbin/policy-rc.d"
	rm -rf "${left_out[@]/#/$1}" "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/cache/debconf/* "$1"/var/log/*
	: >"$1/etc/resolv.conf"
	: >"$1/etc/hostname"
}

# add_go makes the base image of Go. It has neither git nor a C compiler, which Fairlead does not need.
add_go() {
	mkdir -p "$work/golang/usr/local"
	# Follow links: those of Debian's package lead out of GOROOT, to /usr/share.
	cp -aL "$(go env GOROOT)" "$work/golang/usr/local/go"
	mkdir -p "$work/golang/go"
	local container
	container=$(build from --pull-never "$debian")
	build add -q "$container" "$work/golang" / >/dev/null
	build config --env PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		--env GOPATH=/go --env GOTOOLCHAIN=local --workingdir /go "$container"
	build commit -q --rm "$container" "$golang" >/dev/null
}

# commit ROOT NAME OPTION... makes an image of one layer.
commit() {
	local container root=$1 name=$2
	shift 2
	container=$(build from scratch)
	build add -q "$container" "$root" / >/dev/null
	build config "$@" --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
	build commit -q --rm "$container" "$name" >/dev/null
}

# base NAME COMMAND makes a base image, unless the same commands made it before, with the same Go.
base() {
	local stamp file=$cache/${1//[^a-z0-9]/-}.stamp
	stamp=$( (declare -f sources bootstrap slim add_go commit; [ "$1" = "$debian" ] || go env GOVERSION GOROOT) | sha256sum)
	[ "$(cat "$file" 2>/dev/null)" = "$stamp" ] && build inspect --type image "$1" >/dev/null 2>&1 && return
	echo "making $1"
	rm -f "$file"
	"$2"
	echo "$stamp" >"$file"
}

version() { git describe --tags --always --dirty 2>/dev/null || echo dev; }

# bake builds the Dockerfile. Go takes modules and compiled packages from this machine, so it needs no network. They are mounted at
# directories that exist in the base image: a directory created for a mount would stay in the image.
bake() {
	go mod download
	mkdir -p "$(go env GOCACHE)"
	build bud --quiet --layers --isolation=chroot --network=host --pull-never \
		--volume "$(go env GOMODCACHE):/mnt" --build-arg GOMODCACHE=/mnt \
		--volume "$(go env GOCACHE):/media" --build-arg GOCACHE=/media \
		--build-arg GOPROXY=off --build-arg GOFLAGS="$(go env GOFLAGS)" \
		--build-arg VERSION="$(version)" --tag "$image" . >"$work/log" 2>&1 || { tail -n 50 "$work/log" >&2; exit 1; }
}

# write exports the image as an archive, with the annotation that containerd reads the name from.
write() {
	build push -q "$image" "oci:$work/oci:$image"
	sed -i "s|\"org.opencontainers.image.ref.name\":|\"io.containerd.image.name\":\"$image\",&|" "$work/oci/index.json"
	tar -C "$work/oci" -cf "$work/image.tar" .
	mv "$work/image.tar" "$out"
}

prepare
base "$debian" bootstrap
base "$golang" add_go
bake
write
build rmi --prune >/dev/null # of earlier builds
echo "$out: $image, $(du -h --apparent-size "$out" | cut -f1)"
