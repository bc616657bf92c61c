#!/bin/sh
# space.sh FOLDER MIB VARIABLE fails unless so much space is free in a folder.
# Its message names the variable that selects another folder.
set -eu

[ $# = 3 ] || { echo "usage: space.sh FOLDER MIB VARIABLE" >&2; exit 2; }

free=$(df -Pk -- "$1" | awk 'NR == 2 {print int($4 / 1024)}')
[ -n "$free" ] || exit 1
[ "$free" -ge "$2" ] || {
	echo "no space left in $1: $free MiB free, $2 needed; remove files or set $3 to another folder" >&2
	exit 1
}
