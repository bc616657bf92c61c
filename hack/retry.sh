#!/bin/sh
# retry.sh COMMAND... runs a command up to four times until it succeeds, with
# growing pauses in between. It is for downloads, which fail for reasons that
# pass.
#   RETRY_PAUSES="5 15 45"   seconds before the second try, the third, ...
set -u

[ $# -gt 0 ] || { echo "usage: retry.sh COMMAND..." >&2; exit 2; }

trap 'exit 130' INT
trap 'exit 143' TERM

for pause in ${RETRY_PAUSES-5 15 45}; do
	status=0
	"$@" || status=$?
	# From 126 on: the command does not exist, or a signal ended it.
	if [ "$status" = 0 ] || [ "$status" -ge 126 ]; then exit "$status"; fi
	echo "retry.sh: status $status, trying again in $pause s: $*" >&2
	sleep "$pause"
done
exec "$@"
