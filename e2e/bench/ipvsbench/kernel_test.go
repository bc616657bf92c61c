package ipvsbench

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/moby/ipvs"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/e2e/lab"
)

// kernel is what IPVS knows in a node.
type kernel struct {
	node   *lab.Host
	handle *ipvs.Handle
}

// openKernel loads IPVS if it is a module.
func openKernel(node *lab.Host) (*kernel, error) {
	k := &kernel{node: node}
	err := node.Do(func() (err error) {
		k.handle, err = ipvs.New("") // its socket is the namespace's that it was made in
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open IPVS: %w", err)
	}
	switch _, err = k.count(); {
	case errors.Is(err, fs.ErrNotExist):
		k.close()
		return nil, fmt.Errorf("this kernel has no IPVS: %w", err)
	case err != nil:
		k.close()
		return nil, err
	}
	return k, nil
}

func (k *kernel) close() { k.handle.Close() }

// count is how many servers there are.
type count struct{ virtual, real int }

func (k *kernel) count() (c count, err error) {
	var text []byte
	err = k.node.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/ip_vs")
		return err
	})
	if err != nil {
		return count{}, fmt.Errorf("read what IPVS has: %w", err)
	}
	return countServers(string(text)), nil
}

// countServers reads /proc/net/ip_vs.
func countServers(text string) (c count) {
	for line := range strings.Lines(text) {
		switch word, _, _ := strings.Cut(strings.TrimPrefix(line, "  "), " "); word {
		case "TCP", "UDP", "SCTP", "FWM":
			c.virtual++
		case "->":
			c.real++
		}
	}
	c.real = max(0, c.real-1) // the heading has an arrow too
	return c
}

// destinations are the sorted real servers of a virtual one, of TCP. It has none if it does not exist.
func (k *kernel) destinations(to netip.AddrPort) ([]netip.AddrPort, error) {
	list, err := k.handle.GetDestinations(&ipvs.Service{
		Address: to.Addr().AsSlice(), Port: to.Port(), Protocol: unix.IPPROTO_TCP, AddressFamily: unix.AF_INET,
	})
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return nil, fmt.Errorf("list the real servers of %s: %w", to, err)
	}
	found := []netip.AddrPort{}
	for _, d := range list {
		address, _ := netip.AddrFromSlice(d.Address)
		found = append(found, netip.AddrPortFrom(address.Unmap(), d.Port))
	}
	slices.SortFunc(found, netip.AddrPort.Compare)
	return found, nil
}

func TestServersAreCounted(t *testing.T) {
	const heading = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n" +
		"  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
	for _, c := range []struct {
		name, text string
		want       count
	}{
		{"nothing at all", "", count{}},
		{"no server", heading, count{}},
		{"a virtual server without real ones", heading + "TCP  0A600001:0050 rr \n", count{1, 0}},
		{"of each protocol", heading + "TCP  0A600001:0050 rr \n  -> 0AF40002:1F90      Masq    1      0          0         \n" +
			"UDP  [fd00:0010:0096:0000:0000:0000:0000:0001]:0035 rr \n" +
			"  -> [fd00:0010:0244:0000:0000:0000:0000:0002]:0035      Masq    1      0          0         \n" +
			"  -> [fd00:0010:0244:0000:0000:0000:0000:0003]:0035      Masq    1      0          0         \n", count{2, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := countServers(c.text); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
