package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// The ports of kube-proxy's servers, which are the default ports of Fairlead's.
const (
	HealthzPort = 10256
	MetricsPort = 10249
)

// withPort appends a port to an IP address without one. It returns everything else unchanged.
func withPort(address string, port uint16) string {
	if addr, err := netip.ParseAddr(address); err == nil {
		return netip.AddrPortFrom(addr, port).String()
	}
	return address
}

// defaultAddress is an address of a server before it is configured, with its default port.
func defaultAddress(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// parseBindAddress parses an address to listen on. An empty one is the zero AddrPort: do not listen.
func parseBindAddress(f *findings, flag, text string, port uint16) netip.AddrPort {
	if text == "" {
		return netip.AddrPort{}
	}
	address, err := netip.ParseAddrPort(withPort(text, port))
	if err != nil || address.Port() == 0 {
		f.add(flag, "%q is not an IP address and port such as 127.0.0.1:%d or [::]:%d", text, port, port)
		return netip.AddrPort{}
	}
	return address
}

// bindAddressFlag adds the flag of an address to listen on. As in kube-proxy, an empty value leaves the default in place.
func bindAddressFlag(fs *pflag.FlagSet, address *string, name, usage string) {
	fs.Var(&bindAddressValue{address}, name, usage)
}

type bindAddressValue struct{ address *string }

// String implements pflag.Value.
func (v *bindAddressValue) String() string {
	if v.address == nil {
		return ""
	}
	return *v.address
}

// Set implements pflag.Value. Whether the address is valid is found out with all other settings.
func (v *bindAddressValue) Set(text string) error {
	if text != "" {
		*v.address = text
	}
	return nil
}

// Type implements pflag.Value.
func (v *bindAddressValue) Type() string { return "string" }

// parseRange parses a range of addresses. example is a valid one.
func parseRange(text, example string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is not a range of addresses such as %s", text, example)
	}
	return prefix.Masked(), nil
}

func parseRanges(texts []string) ([]netip.Prefix, error) {
	var ranges []netip.Prefix
	for _, text := range texts {
		prefix, err := parseRange(text, "192.0.2.0/24")
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, prefix)
	}
	return ranges, nil
}
