#!/usr/bin/env bash
# repeat.sh N COMMAND... runs a command N times, prints one line a run, and at
# the end how many failed and the output of the first failure. The logs of
# failed runs stay in ${TMPDIR:-/tmp}. The exit status is 1 if a run failed.
#   LOAD=2   busy loops that run meanwhile
set -uo pipefail

[ $# -ge 2 ] || { echo "usage: repeat.sh N COMMAND..." >&2; exit 2; }

runs=$1
shift

# The kernel ends the loops and the command if this script is killed.
loops=()
for _ in $(seq "${LOAD:-0}"); do
	setpriv --pdeathsig KILL sh -c 'while :; do :; done' &
	loops+=($!)
done

command='' log=''
# shellcheck disable=SC2317 # a trap calls it
stop() {
	[ ${#loops[@]} = 0 ] || kill -KILL "${loops[@]}"
	wait 2>/dev/null # or bash says how each of them ended
}
# interrupt passes a signal on to the command, in a process group of its own,
# and stop waits until it has ended.
# shellcheck disable=SC2317 # a trap calls it
interrupt() {
	[ -z "$command" ] || kill -"$1" -- -"$command" 2>/dev/null
	echo "repeat.sh: ended by SIG$1, log of the last run: $log" >&2
	exit 1
}
trap stop EXIT
for signal in HUP INT QUIT TERM; do
	# shellcheck disable=SC2064
	trap "interrupt $signal" "$signal"
done

failures=0 first=
for run in $(seq "$runs"); do
	log=$(mktemp -t "fairlead-repeat-$$.XXXXXX.log") || exit 1
	began=$SECONDS
	set -m
	setpriv --pdeathsig TERM "$@" </dev/null >"$log" 2>&1 &
	command=$!
	set +m
	wait "$command" 2>/dev/null
	status=$?
	command=
	took=$((SECONDS - began))
	if [ "$status" = 0 ]; then
		echo "run $run: ok in $took s"
		rm "$log"
	else
		echo "run $run: FAILED (status $status) in $took s, log $log"
		failures=$((failures + 1))
		first=${first:-$log}
	fi
done

echo "$failures of $runs runs failed"
[ "$failures" -gt 0 ] || exit 0
echo "the first failure, $first:"
cat "$first"
exit 1
