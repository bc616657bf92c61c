# shellcheck shell=sh
# build.sh is read by the build scripts of Go programs that the tests run,
# hack/*/build.sh. It puts them into the bin folder of Fairlead's cache,
#   ${FAIRLEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fairlead}/bin
# and leaves alone what the same scripts and go.mod have already built.
# Whoever reads it is in its own folder, has a function compile NAME OUT, and
# ends with: build_all NAME...
cache=${FAIRLEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fairlead}
mkdir -p "$cache/bin"
cache=$(cd "$cache" && pwd)
bin=$cache/bin

# stamp FILE... names the state of these files.
stamp() { cat "$@" | sha256sum | cut -d' ' -f1; }

# stamp_file PATH says where the stamp of a built file stands.
stamp_file() { echo "$(dirname "$1")/.$(basename "$1").stamp"; }

# up_to_date PATH STAMP
up_to_date() { [ -e "$1" ] && [ "$(cat "$(stamp_file "$1")" 2>/dev/null)" = "$2" ]; }

# put NEW PATH STAMP moves a file that was just made to its place. The rename
# comes last, so that whoever runs the program meanwhile has the old file or
# the new one and never half of it.
put() {
	rm -f "$(stamp_file "$2")"
	mv "$1" "$2"
	echo "$3" >"$(stamp_file "$2")"
}

# build_all NAME... builds programs, one after the other.
build_all() {
	[ $# -gt 0 ] || { echo "usage: build.sh NAME..." >&2; exit 2; }
	state=$(stamp go.mod build.sh ../build.sh)
	# One build at a time, as in hack/kube/build.sh, which removes what a killed one has left.
	exec 9>"$bin/.lock"
	flock -n 9 || { echo "waiting for another build"; flock 9; }
	for name in "$@"; do
		if up_to_date "$bin/$name" "$state"; then
			echo "$bin/$name is up to date"
			continue
		fi
		echo "building $bin/$name"
		mkdir -p "$(dirname "$bin/$name")"
		new=$bin/.$(basename "$name").$$
		trap 'rm -f "$new"' EXIT
		compile "$name" "$new"
		put "$new" "$bin/$name" "$state"
	done
}
