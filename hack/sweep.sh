#!/usr/bin/env bash
# sweep.sh removes what killed runs have left in ${TMPDIR:-/tmp}, and fails if
# less than SPACE=2048 MiB are free there. It ends no process.
#   fairlead-NAME-PID-*   when the process with this ID has ended
#   other fairlead-*      when nothing in it has changed for 10 minutes
#   go-build*             when nothing in it has changed for 60 minutes
# A folder that a process still uses stays: as its working folder, by an open
# or mapped file, or because its arguments or environment name the folder.
set -euo pipefail

tmp=${TMPDIR:-/tmp}

# used prints the paths of such folders that processes use. Processes may end
# meanwhile, hence no errors.
used() {
	{
		find /proc/[0-9]*/{cwd,exe,root,fd/} -maxdepth 1 -type l -printf '%l\n'
		cat /proc/[0-9]*/{cmdline,environ} | tr '\0' '\n'
		awk '{print $6}' /proc/[0-9]*/maps
	} 2>/dev/null | grep -E '/(fairlead-|go-build)' | sort -u || true
}

unchanged() {
	[ -z "$(find "$1" -mmin "-$2" -print -quit)" ]
}

# leftover reports whether a folder's owner is gone.
leftover() {
	if [[ ${1##*/} =~ ^fairlead-[a-z0-9]+-([0-9]+)[-.] ]]; then
		[ ! -d "/proc/${BASH_REMATCH[1]}" ]
	elif [[ ${1##*/} == fairlead-* ]]; then
		unchanged "$1" 10
	else
		unchanged "$1" 60
	fi
}

in_use=$(used)
for folder in "$tmp"/fairlead-* "$tmp"/go-build*; do
	if [[ -d $folder && ! -L $folder && -O $folder && $in_use != *"/${folder##*/}"* ]] && leftover "$folder"; then
		echo "removing $folder, left by a killed run"
		rm -rf --one-file-system "$folder"
	fi
done
"$(dirname "$0")/space.sh" "$tmp" "${SPACE:-2048}" TMPDIR
