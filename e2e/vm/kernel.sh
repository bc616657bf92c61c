#!/usr/bin/env bash
# kernel.sh VERSION gets Debian's cloud kernel of a version (6.1, 6.12) and packs an initramfs for run.sh, unless it has been done
# before, and prints the folder in which boot/vmlinuz, lib/modules and initramfs are:
#   ${FAIRLEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fairlead}/vm/VERSION-CHECKSUM
# The checksum is that of the scripts. A virtual machine holds a shared lock on its folder and keeps it that way.
set -euo pipefail
[ $# = 1 ] || { echo "usage: kernel.sh VERSION" >&2; exit 2; }
version=$1
here=$(cd "$(dirname "$0")" && pwd)
init=$here/init.sh
hack=$here/../../hack
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

# get downloads the newest package into the current folder.
get() {
	local package
	package=$(newest)
	rm -f ./*.deb
	[ -n "$package" ] && "$hack/apt.sh" -o APT::Sandbox::User=root download "$package"
}

# download also works if apt's package lists are out of date, or if the network fails for some seconds.
download() {
	local pause
	get 2>/dev/null && return
	for pause in 0 5 15 45; do
		sleep "$pause"
		"$hack/apt.sh" update || true
		get && return
	done
	[ -n "$(newest)" ] || fail "apt has no cloud kernel $version for amd64; check its sources and the network"
	fail "apt-get cannot download $(newest), see its errors above"
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

# The rename comes last, so that there is the whole of it or nothing. Other folders are leftovers of a killed run, or belong to other
# versions of these scripts.
exec 9>"$cache/lock"
flock 9
checksum=$(cat "$0" "$init" | sha256sum)
kernel=$cache/$version-${checksum:0:12}
if [ ! -d "$kernel" ]; then
	rm -rf "$cache"/tmp.*
	"$hack/space.sh" "$cache" 300 FAIRLEAD_CACHE
	new=$(mktemp -d -p "$cache")
	trap 'rm -rf "$new"' EXIT
	chmod 755 "$new"
	unpack_kernel "$new" >&2
	pack_initramfs "$new"
	for old in "$cache/$version"-*; do
		if flock -n "$old" true 2>/dev/null; then rm -rf "$old"; fi
	done
	mv "$new" "$kernel"
fi
echo "$kernel"
