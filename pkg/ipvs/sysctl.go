package ipvs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

// sysctl is a setting of the kernel, by its path below /proc/sys.
type sysctl struct{ path, value string }

// ipvsSysctls are what virtual servers need on every kernel.
var ipvsSysctls = []sysctl{
	// Connections are known to conntrack, or iptables could not masquerade them.
	{"net/ipv4/vs/conntrack", "1"},
	// The packets of a connection whose real server was removed end it, instead of vanishing until it times out.
	{"net/ipv4/vs/expire_nodest_conn", "1"},
	// A client with session affinity gets another real server when its own has weight 0, and does not wait for it to vanish.
	{"net/ipv4/vs/expire_quiescent_template", "1"},
	// Real servers are elsewhere. Only IPv4: forwarding of IPv6 is the network's business, as turning it on makes the kernel ignore
	// router advertisements, and a node that lives by them loses its default route.
	{"net/ipv4/ip_forward", "1"},
}

// strictARP keeps the node from answering ARP on one interface for addresses of another, which load balancers on the network segment
// count on (--ipvs-strict-arp).
var strictARP = []sysctl{
	{"net/ipv4/conf/all/arp_ignore", "1"},
	{"net/ipv4/conf/all/arp_announce", "2"},
}

// Tune sets what IPVS needs of the kernel's settings, where they differ. IPVS has to be loaded.
func Tune(ctx context.Context, strictARP bool) error { return applySysctls(ctx, strictARP) }

// applySysctls sets, in the network namespace of the calling thread, what IPVS needs of the kernel. IPVS has to be loaded.
func applySysctls(ctx context.Context, strict bool) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("read the kernel's version: %w", err)
	}
	return applySysctlsBelow(ctx, "/proc/sys", unix.ByteSliceToString(name.Release[:]), strict)
}

func applySysctlsBelow(ctx context.Context, root, release string, strict bool) error {
	list := append([]sysctl{connReuse(ctx, release)}, ipvsSysctls...)
	if strict {
		list = append(list, strictARP...)
	}
	var errs []error
	for _, s := range list {
		errs = append(errs, s.apply(root))
	}
	return errors.Join(errs...)
}

// apply writes only what differs: an unprivileged container may read, and its init container may have written.
func (s sysctl) apply(root string) error {
	file := filepath.Join(root, s.path)
	name := strings.ReplaceAll(s.path, "/", ".")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has to be %s, but the kernel has no such setting: %w; load the module ip_vs (of a kernel with CONFIG_IP_VS_NFCT, for conntrack)", name, s.value, err)
	}
	if err != nil {
		return fmt.Errorf("%s has to be %s: %w", name, s.value, err)
	}
	is := strings.TrimSpace(string(text))
	if is == s.value {
		return nil
	}
	if err := os.WriteFile(file, []byte(s.value), 0o644); err != nil {
		return fmt.Errorf("%s has to be %s and is %s: %w; set it on the node (sysctl -w %s=%s) or in a privileged init container", name, s.value, is, err, name, s.value)
	}
	return nil
}

// connReuse is what happens when a client takes up the port of a connection that it has just closed. 1 schedules it anew, as is right.
// But before Linux 5.9 (commit f0a5e4d7a594) that drops the first packet where conntrack is on, and each such connection takes a second
// to open (kubernetes#70747, #93297). 0 sends it to the real server that it had, even if that is draining (kubernetes#81775).
func connReuse(ctx context.Context, release string) sysctl {
	const path = "net/ipv4/vs/conn_reuse_mode"
	fixed, known := atLeast(release, 5, 9)
	switch {
	case !known:
		klog.FromContext(ctx).Info("Cannot tell the kernel's version; taking it for 5.9 or newer", "release", release)
	case !fixed:
		klog.FromContext(ctx).Info("Before Linux 5.9, IPVS may send new connections of a busy client to endpoints that are shutting down (kubernetes#81775); upgrade the kernel or use --proxy-mode=iptables", "release", release)
		return sysctl{path, "0"}
	}
	return sysctl{path, "1"}
}

// atLeast reports whether a kernel release such as 6.1.0-56-cloud-amd64 is this version or newer; known is false if it is unlike that.
func atLeast(release string, major, minor int) (is, known bool) {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n != 2 {
		return true, false
	}
	return a > major || a == major && b >= minor, true
}
