#!/bin/sh
# install.sh PACKAGE... installs those of the named Debian packages that are
# missing. It removes no package for that.
set -eu

[ $# -gt 0 ] || { echo "usage: install.sh PACKAGE..." >&2; exit 2; }

hack=$(dirname "$0")

# missing prints those of the packages that are not installed completely.
missing() {
	for package in "$@"; do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || true
		[ "$status" = installed ] || printf ' %s' "$package"
	done
}

refuse() {
	echo "install.sh: $1; install these packages by hand:$wanted" >&2
	exit 1
}

busy() {
	[ "$1" != 75 ] || refuse "another apt or dpkg does not end"
}

# install is one try. A package repository that does not answer is no reason to
# stop: the packages may come from another one, or from the cache. Quiet still
# leaves dpkg's progress on standard output; errors go to standard error.
install() {
	"$hack/apt.sh" repair >/dev/null || busy $?
	"$hack/apt.sh" update || busy $?
	"$hack/apt.sh" install -y --fix-broken --no-remove --no-install-recommends "$@" >/dev/null || busy $?
	wanted=$(missing "$@")
	[ -z "$wanted" ]
}

wanted=$(missing "$@")
[ -n "$wanted" ] || exit 0
command -v apt-get >/dev/null || refuse "no apt-get here"
[ "$(id -u)" = 0 ] || refuse "not root"

echo "installing$wanted"
for pause in 5 15 45; do
	# $wanted is a list, hence no quotes.
	# shellcheck disable=SC2086
	install $wanted && exit
	echo "install.sh: trying again in $pause s" >&2
	sleep "$pause"
done
# shellcheck disable=SC2086
install $wanted || refuse "apt-get fails, see its errors above"
