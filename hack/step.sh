#!/usr/bin/env bash
# step.sh NAME LIMIT COMMAND... runs a step of CI, ends it at the limit (600, or
# 10m), and prints how it ended and how long it took. The exit status is the
# command's, or 124 after the limit. Steps may nest.
set -uo pipefail

[ $# -ge 3 ] || { echo "usage: step.sh NAME LIMIT COMMAND..." >&2; exit 2; }

# A step ends with the program that started it, even if that is killed.
if [ "${FAIRLEAD_STEP_PID:-}" != $$ ]; then
	FAIRLEAD_STEP_PID=$$ exec setpriv --pdeathsig TERM "$0" "$@"
fi

name=$1 limit=$2
shift 2
case $limit in *m) limit=$((${limit%m} * 60)) ;; esac

# All temporary files of an outermost step are in one folder. sweep.sh removes
# it if the step is killed.
if [ -z "${FAIRLEAD_STEP:-}" ]; then
	TMPDIR=$(mktemp -d -t "fairlead-step-$$.XXXXXX") || exit 1
	export TMPDIR FAIRLEAD_STEP=$name
	trap 'rm -rf "$TMPDIR"' EXIT
fi

# SIGQUIT makes Go programs print their goroutines; SIGKILL follows 30 seconds
# later. timeout puts the command into a process group of its own, and passes on
# to the group whatever signal it receives. So this script has to receive the
# signals of a terminal, or of an outer step, and pass them on; and the kernel
# has to tell timeout if this script is killed.
echo "step $name: started"
setpriv --pdeathsig TERM timeout -s QUIT -k 30 "$limit" "$@" &
child=$!

signal=
for s in HUP INT QUIT TERM; do
	# shellcheck disable=SC2064
	trap "signal=$s; kill -$s $child 2>/dev/null" "$s"
done

# A signal interrupts wait. Without its standard error, bash does not report how
# the process ended.
last=none
while [ "$last" != "$signal" ]; do
	last=$signal
	wait "$child" 2>/dev/null
	status=$?
done

# timeout reports its own SIGKILL as 137.
if [ -n "$signal" ]; then
	result="by SIG$signal"
elif [ "$SECONDS" -ge "$limit" ] && [[ $status == 124 || $status == 137 ]]; then
	status=124 result="by timeout"
else
	result="with status $status"
fi
if [ "$status" = 0 ]; then
	echo "step $name: ok in $SECONDS s"
else
	echo "step $name: FAILED $result after $SECONDS s (limit $limit s)"
fi
exit "$status"
