#!/usr/bin/env bash
# kernel.sh VERSION gets Debian's cloud kernel of a version (6.1, 6.12) and packs an initramfs for run.sh, unless it has been done
# before, and prints the folder in which boot/vmlinuz, lib/modules and initramfs are:
#   ${FAIRLEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fairlead}/vm/VERSION
set -euo pipefail
[ $# = 1 ] || { echo "usage: kernel.sh VERSION" >&2; exit 2; }
version=$1
init=$(cd "$(dirname "$0")" && pwd)/init.sh
cache=${FAIRLEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fairlead}/vm
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

fail() {
	echo "kernel.sh: $1" >&2
	exit 1
}

# newest names the newest kernel package that apt knows of.
newest() {
	apt-cache search --names-only "^linux-image-${version//./\\.}\.[0-9.+-]*(deb[0-9]+)?-cloud-amd64\$" |
		cut -d' ' -f1 | sort -V | tail -n 1
}

# download gets the package into the current folder. What apt knows may be older than what is there to be had.
download() {
	local package
	package=$(newest)
	if [ -z "$package" ] || ! apt-get -qq -o APT::Sandbox::User=root download "$package" 2>/dev/null; then
		apt-get -qq update
		package=$(newest)
		[ -n "$package" ] || fail "apt has no cloud kernel $version for amd64"
		apt-get -qq -o APT::Sandbox::User=root download "$package"
	fi
}

# unpack_kernel fills a folder with the kernel and its modules.
unpack_kernel() {
	local to=$1
	(cd "$to" && download)
	dpkg-deb --fsys-tarfile "$to"/*.deb | tar -x -C "$to" ./boot ./lib
	rm "$to"/*.deb
	mv "$to"/boot/vmlinuz-* "$to/boot/vmlinuz"
	depmod -b "$to" "$(ls "$to/lib/modules")"
}

# modules lists the files of the modules that init needs before it has a root, in the order in which they have to be loaded. Some
# may be built in.
modules() {
	local module
	for module in virtio_pci virtio_console virtiofs overlay; do
		modprobe -d "$1" -S "$(ls "$1/lib/modules")" --show-depends "$module" | awk '$1 == "insmod" && !seen[$2]++ {print $2}'
	done
}

# pack_initramfs writes an archive of init, busybox and modules.
pack_initramfs() {
	local kernel=$1 file n=100 root=$1/root
	mkdir -p "$root"/{bin,sbin,modules,proc,sys,dev,lower,rw,new}
	cp /bin/busybox "$root/bin/busybox"
	install "$init" "$root/init"
	for file in $(modules "$kernel"); do
		n=$((n + 1))
		case $file in
		*.xz) xz -dc "$file" ;;
		*) cat "$file" ;;
		esac >"$root/modules/$n.ko"
	done
	# The kernel asks for modules by this name. It does so here, outside of the root that the command sees.
	printf '#!/bin/busybox sh\nexec /bin/busybox chroot /new /sbin/modprobe "$@"\n' >"$root/sbin/modprobe"
	chmod +x "$root/sbin/modprobe"
	(cd "$root" && find . | cpio -o -H newc --quiet) >"$kernel/initramfs"
	rm -r "$root"
}

# The rename comes last, so that there is the whole of it or nothing.
exec 9>"$cache/lock"
flock 9
stamp=$(cat "$0" "$init" | sha256sum)
if [ "$(cat "$cache/$version/stamp" 2>/dev/null)" != "$stamp" ]; then
	new=$(mktemp -d -p "$cache")
	trap 'rm -rf "$new"' EXIT
	chmod 755 "$new"
	unpack_kernel "$new" >&2
	pack_initramfs "$new"
	echo "$stamp" >"$new/stamp"
	rm -rf "${cache:?}/$version"
	mv "$new" "$cache/$version"
fi
echo "$cache/$version"
