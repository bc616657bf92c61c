#!/usr/bin/env bash
# run.sh COMMAND [ARGUMENT...] runs a command as root in a small virtual machine with a kernel of Debian's, for tests that need what
# the host's kernel does not have, such as IPVS. The command finds the host's files, of which it changes copies only, the same
# folder and the same environment. Its output and its exit status come back. So `go test -exec .../run.sh` works.
#   VM_KERNEL=6.1      or 6.12
#   VM_CPUS=2  VM_MEMORY=2048 (MiB)
#   VM_TIMEOUT=600     seconds from the start, then the exit status is 124
#   VM_SHARE=FOLDER    what the command changes in this one stays
#   VM_NET=TAP         an interface of the network namespace that the script runs in: what the VM calls eth0
#   VM_ACCEL=kvm       with the processor's support, where that works; otherwise all is emulated, ten times as slow
# Where the virtual machine itself fails, twice, the exit status is 125. It ends when the program that started this script ends.
set -uo pipefail

[ $# -gt 0 ] || { sed -n '2,/^set/{/^#/s/^# \?//p}' "$0" >&2; exit 125; }

version=${VM_KERNEL:-6.1}
memory=${VM_MEMORY:-2048}
timeout=${VM_TIMEOUT:-600}
share=${VM_SHARE:-}
net=${VM_NET:-}
# With a thread for each processor, QEMU 7.2 can go on executing a breakpoint that the kernel has already taken out of its code again
# (text_poke_bp): all processors then spin in exc_int3 for ever. One thread for all is no slower beside other tests.
accel=${VM_ACCEL:-tcg,thread=single,tb-size=256}
boot_timeout=120
here=$(dirname "$0")
virtiofsd=/usr/lib/qemu/virtiofsd

fail() {
	echo "run.sh: $1" >&2
	exit 125
}

check() {
	local missing=
	[ -x "$virtiofsd" ] && command -v qemu-system-x86_64 >/dev/null || missing="$missing qemu-system-x86"
	command -v depmod >/dev/null || missing="$missing kmod"
	[ -x /bin/busybox ] || missing="$missing busybox-static"
	command -v cpio >/dev/null || missing="$missing cpio"
	command -v xz >/dev/null || missing="$missing xz-utils"
	[ -z "$missing" ] || fail "install these packages (hack/install.sh does):$missing"
	[ "$(id -u)" = 0 ] || fail "not root"
	"$here/../../hack/space.sh" "${TMPDIR:-/tmp}" 64 TMPDIR || exit 125
}

# processes are those that have to end with this script.
processes=()

# background starts one of them. The kernel ends it if this script is killed.
background() {
	setpriv --pdeathsig KILL "$@" &
	processes+=($!)
}

# end ends all of them, and those of output by ending what they read.
end() {
	exec 3>&- 4>&-
	[ ${#processes[@]} = 0 ] || kill -KILL "${processes[@]}" 2>/dev/null
	wait 2>/dev/null # or bash says how each of them ended
	processes=()
}

# write_command writes the command down for init.sh, with folder and environment.
write_command() {
	export -p | grep -vE '^declare -x (PWD|OLDPWD|SHLVL|_)(=|$)' || true
	printf 'cd %q || exit 125\nexec' "$PWD"
	printf ' %q' "$@"
	echo
}

# serve_files gives the VM a folder of the host's under a name.
serve_files() {
	background "$virtiofsd" --socket-path="$job/$1.socket" -o source="$2" -o cache="$3" -o sandbox=chroot -o xattr >"$job/$1.log" 2>&1
	for _ in $(seq 250); do
		[ -S "$job/$1.socket" ] && return
		sleep 0.02
	done
}

# output passes on what comes through a serial port. The script holds the other end of the pipe open too, until the VM has ended.
output() {
	mkfifo "$job/$1"
	cat "$job/$1" &
}

# start starts the VM. Its clock is one that the VM's kernel need not measure first: on a busy host it takes the processor's for
# half or twice as fast as it is.
start() {
	local shared=() network=()
	serve_files root / always
	if [ -n "$share" ]; then
		serve_files share "$share" auto
		shared=(-chardev "socket,id=share,path=$job/share.socket" -device "vhost-user-fs-pci,chardev=share,tag=share")
	fi
	[ -z "$net" ] || network=(-netdev "tap,id=net,ifname=$net,script=no,downscript=no" -device "virtio-net-pci,netdev=net,romfile=")
	# no_timer_check: on a busy host the kernel counts too few ticks while it tries the timer, and panics ("IO-APIC + timer doesn't work").
	background qemu-system-x86_64 -M pc,usb=off,vmport=off -accel "$accel" -cpu max,la57=off -smp "${VM_CPUS:-2}" -m "$memory" \
		-nodefaults -no-user-config -display none -no-reboot \
		-object "memory-backend-memfd,id=memory,size=${memory}M,share=on" -numa node,memdev=memory \
		-kernel "$kernel/boot/vmlinuz" -initrd "$kernel/initramfs" \
		-append "console=ttyS0 quiet panic=-1 no_timer_check mitigations=off nokaslr selinux=0 audit=0 nowatchdog clocksource=hpet vm_kernel=$kernel vm_job=$job vm_share=$share" \
		-serial "file:$job/console" -device virtio-serial-pci \
		-chardev "file,id=out,path=$job/out" -device virtserialport,chardev=out,name=out \
		-chardev "file,id=err,path=$job/err" -device virtserialport,chardev=err,name=err \
		-chardev "file,id=status,path=$job/status" -device virtserialport,chardev=status,name=status \
		-chardev "socket,id=root,path=$job/root.socket" -device vhost-user-fs-pci,chardev=root,tag=root,queue-size=1024 \
		"${shared[@]}" "${network[@]}" </dev/null >"$job/qemu.log" 2>&1
	qemu=$!
}

booted() { grep -q '^booted' "$job/status" 2>/dev/null; }

# orphaned reports whether the parent has ended, such as a killed go test, which cannot end this script any more.
orphaned() {
	local stat parent
	stat=$(<"/proc/$$/stat")
	read -r _ parent _ <<<"${stat##*) }"
	[ "$parent" != "$PPID" ]
}

# await waits for the end of the VM, and ends it when its time is over.
await() {
	while kill -0 "$qemu" 2>/dev/null; do
		! orphaned || exit 125
		if [ $((SECONDS - began)) -ge "$timeout" ]; then
			timed_out=yes
			return
		fi
		booted || [ $((SECONDS - began)) -lt $boot_timeout ] || return
		sleep 0.1
	done
}

# try runs the VM once, and reports whether it got as far as the command.
try() {
	rm -f "$job"/{out,err,status,console} "$job"/*.socket
	timed_out=
	began=$SECONDS
	output out
	exec 3>"$job/out"
	output err >&2
	exec 4>"$job/err"
	start 3>&- 4>&-
	await
	end
	booted || [ -n "$timed_out" ]
}

# complain says what there is to be known about a VM that failed.
complain() {
	echo "run.sh: $1" >&2
	tail -qn 15 "$job/qemu.log" "$job/console" >&2 2>/dev/null
}

check
kernel=$("$here/kernel.sh" "$version") || fail "no kernel"
exec 8<"$kernel"
flock -s 8
job=$(mktemp -d -t "fairlead-vm-$$.XXXXXX") || fail "no folder for temporary files"
trap 'end; rm -rf "$job"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 131' QUIT
trap 'exit 143' TERM
write_command "$@" >"$job/command"

try || {
	complain "the virtual machine does not come up; trying again"
	try || { complain "the virtual machine does not come up"; exit 125; }
}
status=$(awk '$1 == "status" {print $2}' "$job/status")
[ -z "$timed_out" ] || { complain "ended after $timeout seconds"; exit 124; }
[ -n "$status" ] || { complain "the virtual machine ended before the command"; exit 125; }
exit "$status"
