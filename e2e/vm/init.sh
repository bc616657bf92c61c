#!/bin/busybox sh
# The first process of the VM. It stays in the initramfs, lays a writable layer over the host's files, runs the command of run.sh
# in there, and reports its exit status. run.sh says on the kernel's command line where things are (vm_*).
# shellcheck shell=dash disable=SC2154
b=/bin/busybox

fail() {
	echo "init.sh: $1" >/dev/console
	$b poweroff -f
}

# read_arguments sets vm_kernel, the folder of kernel.sh, vm_job, that of run.sh, and vm_share.
read_arguments() {
	for word in $($b cat /proc/cmdline); do
		case $word in vm_*=*) eval "$word" ;; esac
	done
}

# mount_root makes /new out of the host's files, which stay as they are, and a layer that is gone with the VM.
mount_root() {
	$b mount -t virtiofs -o ro root /lower || fail "cannot mount the host's files"
	$b mount -t tmpfs -o mode=755,size=80% rw /rw
	$b mkdir /rw/upper /rw/work
	$b mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work,xino=off root /new || fail "cannot mount the root"
	$b mkdir -p /new/lib/modules /new/boot
	$b mount --bind "/new$vm_kernel/lib/modules" /new/lib/modules
	$b mount --bind "/new$vm_kernel/boot" /new/boot
	[ -z "$vm_share" ] || $b mount -t virtiofs share "/new$vm_share" || fail "cannot mount $vm_share"
}

# mount_kernel_files mounts what programs expect of a running system.
mount_kernel_files() {
	cd /new || fail "no root"
	$b mount -t proc proc proc
	$b mount -t sysfs sys sys
	$b mount -t devtmpfs dev dev
	$b mkdir -p dev/pts dev/shm
	$b mount -t devpts devpts dev/pts
	$b mount -t tmpfs -o mode=1777 shm dev/shm
	$b mount -t tmpfs -o mode=755 run run
	$b mkdir -p run/netns run/lock
	$b mount -t cgroup2 cgroup sys/fs/cgroup
	$b ln -sfn /proc/self/fd dev/fd
	$b ln -sfn /proc/self/fd/0 dev/stdin
	$b ln -sfn /proc/self/fd/1 dev/stdout
	$b ln -sfn /proc/self/fd/2 dev/stderr
}

# port prints the device of a serial port of run.sh. Ports come up some time after their driver.
port() {
	for _ in $($b seq 200); do
		for p in /sys/class/virtio-ports/*; do
			[ "$($b cat "$p/name" 2>/dev/null)" = "$1" ] && echo "/dev/${p##*/}" && return
		done
		$b usleep 20000
	done
}

# run runs the command. A port can be opened but once, while a program may well open /dev/stdout again; so it gets pipes.
run() {
	$b mkfifo /out /err
	$b cat /out >"$(port out)" & out=$!
	$b cat /err >"$(port err)" & err=$!
	echo booted >&9
	$b setsid $b chroot /new /bin/bash "$vm_job/command" </dev/null >/out 2>/err 9>&-
	status=$?
	# A process that the command has left behind may hold the pipes for ever.
	($b sleep 2; $b kill $out $err) 2>/dev/null &
	wait $out $err
}

$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
read_arguments
for module in /modules/*.ko; do
	$b insmod "$module"
done
mount_root
mount_kernel_files
$b hostname vm
$b ip link set lo up
$b chroot /new /sbin/modprobe nf_conntrack # every node has it, from its start
status_port=$(port status)
[ -n "$status_port" ] || fail "no serial ports"
exec 9>"$status_port"
run
[ -z "$vm_share" ] || $b umount "/new$vm_share"
echo "status $status" >&9
exec 9>&-
$b poweroff -f
