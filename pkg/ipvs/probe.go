package ipvs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/vishvananda/netlink"
)

// ErrNoIPVS says that the kernel has no IPVS.
var ErrNoIPVS = errors.New("the kernel has no IPVS: load its module on the node (modprobe ip_vs; in a container that needs the node's /lib/modules mounted), or use --proxy-mode=iptables")

// virtualServerTable is there in each network namespace as soon as the kernel has IPVS. Not /proc/net: that is the namespace of the
// main thread, and a Go program's code may run on another.
const virtualServerTable = "/proc/thread-self/net/ip_vs"

// Probe returns ErrNoIPVS if the kernel has no IPVS in the network namespace of the calling thread, and can load none. Loading is all
// that it changes.
func Probe() error {
	if there, err := probed(); there || err != nil {
		return err
	}
	// Asked for a family of generic netlink that it does not know, the kernel loads the module that claims it, with the node's own
	// modprobe: this works from a container that has neither modules nor privileges. The table tells whether it did.
	_, loadErr := netlink.GenlFamilyGet("IPVS")
	if there, err := probed(); there || err != nil {
		return err
	}
	if loadErr == nil {
		return fmt.Errorf("%w: there is no %s", ErrNoIPVS, virtualServerTable)
	}
	return ErrNoIPVS
}

// Present reports whether the kernel has IPVS loaded already.
func Present() bool {
	there, err := probed()
	return there && err == nil
}

func probed() (bool, error) {
	_, err := os.Stat(virtualServerTable)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for IPVS: %w", err)
	}
	return true, nil
}
