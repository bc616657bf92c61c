#!/bin/sh
# install.sh PACKAGE... installs those of the named Debian packages that are
# missing.
set -eu

[ $# -gt 0 ] || { echo "usage: install.sh PACKAGE..." >&2; exit 2; }

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
for package in "$@"; do
	installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

refuse() {
	echo "install.sh: $1; install these packages by hand:$missing" >&2
	exit 1
}
command -v apt-get >/dev/null || refuse "no apt-get here"
[ "$(id -u)" = 0 ] || refuse "not root"

echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# Quiet still leaves dpkg's progress on standard output; errors go to standard
# error. $missing is a list, hence no quotes.
# shellcheck disable=SC2086
apt-get -qq install -y --no-install-recommends $missing >/dev/null
