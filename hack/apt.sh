#!/bin/sh
# apt.sh ARGUMENT... runs apt-get, and apt.sh repair completes what a killed
# dpkg has left half done. Both wait up to APT_PATIENCE=300 seconds for other
# apt and dpkg processes, then the exit status is 75. apt's own
# DPkg::Lock::Timeout covers neither the lock of the package lists nor that of
# the downloaded archives.
set -u

[ $# -gt 0 ] || { echo "usage: apt.sh ARGUMENT..." >&2; exit 2; }

# LC_ALL keeps the messages in English, the configuration options keep files
# that the user has modified, and no question is asked.
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
if [ "$1" = repair ]; then
	set -- dpkg --force-confdef --force-confold --configure -a
else
	set -- apt-get -qq -o Acquire::Retries=5 \
		-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
fi

# attempt runs the command, with its standard error in $errors.
attempt() {
	{ errors=$("$@" 2>&1 >&3 3>&- </dev/null); } 3>&1
}

locked() {
	case $errors in
	*"Could not get lock"* | *"Unable to acquire"*lock* | *"locked by another process"*) ;;
	*) false ;;
	esac
}

waited=0
until attempt "$@"; do
	status=$?
	if ! locked || [ "$waited" -ge "${APT_PATIENCE:-300}" ]; then
		printf '%s\n' "$errors" >&2
		! locked || status=75
		exit "$status"
	fi
	[ "$waited" -gt 0 ] || echo "apt.sh: waiting for another apt or dpkg: ${errors%%
*}" >&2
	sleep 2
	waited=$((waited + 2))
done
[ -z "$errors" ] || printf '%s\n' "$errors" >&2
