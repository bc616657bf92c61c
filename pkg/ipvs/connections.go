package ipvs

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
)

// connection is what IPVS knows of one.
type connection struct {
	key                     // where the client sent to
	state     string        // as the kernel names it
	remaining time.Duration // until the kernel forgets it, if nothing comes any more; whole seconds
	client    netip.Addr
}

// connections is what IPVS remembers, in both families.
type connections interface {
	// Each calls do for every connection. The kernel may show some twice and miss others, if they come and go meanwhile.
	Each(do func(connection)) error
}

// over are the states of connections that both ends have closed, or one has reset: nobody will miss them (ip_vs_proto_tcp.c,
// ip_vs_proto_sctp.c).
var over = map[string]struct{}{"TIME_WAIT": {}, "CLOSE": {}, "LISTEN": {}, "CLOSED": {}, "REJECTED": {}}

// idle is how long a UDP flow may be silent and still counts as standing: as long as connection tracking remembers one without answers. One
// that comes back later may reach another endpoint, in any mode.
const idle = 30 * time.Second

// stands reports whether somebody would miss a connection, where the kernel forgets silent UDP flows after udpTimeout.
func (c connection) stands(udpTimeout time.Duration) bool {
	if c.protocol == service.UDP {
		return udpTimeout-c.remaining <= idle
	}
	_, is := over[c.state]
	return !is
}

// kernelConnections are those of the network namespace of the calling thread.
type kernelConnections struct{}

// connectionTable has one line for each connection.
const connectionTable = "/proc/thread-self/net/ip_vs_conn"

// Each implements connections.
func (kernelConnections) Each(do func(connection)) error {
	file, err := os.Open(connectionTable)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the connections of IPVS: %w", err)
	}
	defer file.Close()
	if err := readConnections(file, do); err != nil {
		return fmt.Errorf("read the connections of IPVS: %w", err)
	}
	return nil
}

// Clients returns the addresses that have connections through IPVS, whoever made the virtual servers, in the network namespace of the
// calling thread.
func Clients() (map[netip.Addr]bool, error) {
	found := map[netip.Addr]bool{}
	err := kernelConnections{}.Each(func(c connection) { found[c.client] = true })
	return found, err
}

// readConnections leaves out what is none: the head of the table, and the templates of session affinity, which have no port.
func readConnections(in io.Reader, do func(connection)) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if c, is := parseConnection(lines.Text()); is {
			do(c)
		}
	}
	return lines.Err()
}

// parseConnection reads protocol, client and its port, virtual server and its port, real server and its port, state, and seconds until the
// end (ip_vs_conn_seq_show in ip_vs_conn.c).
func parseConnection(line string) (c connection, is bool) {
	fields := strings.Fields(line)
	if len(fields) < 9 {
		return c, false
	}
	switch fields[0] {
	case "TCP":
		c.protocol = service.TCP
	case "UDP":
		c.protocol = service.UDP
	case "SCTP":
		c.protocol = service.SCTP
	default:
		return c, false
	}
	client, clientErr := strconv.ParseUint(fields[2], 16, 16)
	port, portErr := strconv.ParseUint(fields[4], 16, 16)
	seconds, secondsErr := strconv.Atoi(fields[8])
	from, fromErr := parseAddress(fields[1])
	addr, addrErr := parseAddress(fields[3])
	if errors.Join(clientErr, portErr, secondsErr, fromErr, addrErr) != nil || client == 0 {
		return c, false
	}
	c.address, c.state, c.remaining, c.client = netip.AddrPortFrom(addr, uint16(port)), fields[7], time.Duration(seconds)*time.Second, from
	return c, true
}

// parseAddress reads an IPv4 address in hexadecimal, or an IPv6 address as usual.
func parseAddress(text string) (netip.Addr, error) {
	if strings.Contains(text, ":") {
		return netip.ParseAddr(strings.Trim(text, "[]"))
	}
	raw, err := hex.DecodeString(text)
	if err != nil {
		return netip.Addr{}, err
	}
	addr, ok := netip.AddrFromSlice(raw)
	if !ok {
		return addr, fmt.Errorf("%q is no address", text)
	}
	return addr, nil
}
