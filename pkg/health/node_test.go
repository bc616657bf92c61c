package health

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/pkg/service"
)

// patience only ends a test that fails: what it waits for takes milliseconds.
const patience = 60 * time.Second

// node is a node as a load balancer sees it: Servers on loopback addresses.
type node struct {
	t       *testing.T
	family  service.Family
	servers *Servers
	client  *http.Client

	mu     sync.Mutex
	listed []netip.Addr
	events []string
}

// newNode listens on the family's loopback address only, unless opts say otherwise.
func newNode(t *testing.T, family service.Family, opts Options) *node {
	n := &node{t: t, family: family, listed: []netip.Addr{loopback(family)}}
	if opts.Addresses == nil {
		opts.Addresses = n.addresses
	}
	opts.Events = n.event
	n.servers = New(family, opts)
	n.servers.pause = 5 * time.Millisecond
	transport := &http.Transport{}
	n.client = &http.Client{Transport: transport, Timeout: patience}
	t.Cleanup(func() {
		n.servers.Close()
		transport.CloseIdleConnections()
	})
	return n
}

func (n *node) addresses() []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.listed
}

// list changes the addresses that node ports answer on.
func (n *node) list(addresses ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listed = addresses
}

func (n *node) event(service types.NamespacedName, reason, message string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, service.String()+" "+reason+" "+message)
}

// told is how often a Service's owner has been told of a failure.
func (n *node) told(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, e := range n.events {
		if strings.HasPrefix(e, "shop/"+name+" FailedToStartServiceHealthcheck ") {
			count++
		}
	}
	return count
}

func (n *node) sync(checks ...service.HealthCheck) error {
	return n.servers.Synced(context.Background(), nil, &service.Table{Family: n.family, HealthChecks: checks}, nil)
}

func (n *node) mustSync(checks ...service.HealthCheck) {
	n.t.Helper()
	if err := n.sync(checks...); err != nil {
		n.t.Fatal(err)
	}
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (n *node) get(port uint16) reply {
	n.t.Helper()
	return n.ask(http.MethodGet, port, "/", "")
}

func (n *node) ask(method string, port uint16, path, body string) reply {
	n.t.Helper()
	at := netip.AddrPortFrom(loopback(n.family), port)
	request, err := http.NewRequest(method, "http://"+at.String()+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	response, err := n.client.Do(request)
	if err != nil {
		n.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(text)}
}

// open reports whether somebody listens on a port of the family's loopback address.
func (n *node) open(port uint16) bool { return isOpen(netip.AddrPortFrom(loopback(n.family), port)) }

func isOpen(at netip.AddrPort) bool {
	conn, err := net.Dial("tcp", at.String())
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// freePort is a port that has no listener. Until the test ends, the kernel does not choose it for other programs.
func (n *node) freePort() uint16 {
	n.t.Helper()
	port, err := reservePort(n.t)
	if err != nil {
		n.t.Fatal(err)
	}
	return port
}

// reservePort binds a socket to a free port on all addresses, without listening. The kernel then does not choose this port for any
// other socket. Listening on it explicitly still works, as both sockets have SO_REUSEADDR: Go sets it on all its listeners.
func reservePort(t *testing.T) (uint16, error) {
	family, everywhere := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{}) // both families
	if !slices.Contains(families(t), service.IPv6) {
		family, everywhere = unix.AF_INET, &unix.SockaddrInet4{}
	}
	socket, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	t.Cleanup(func() { unix.Close(socket) })
	if family == unix.AF_INET6 {
		err = unix.SetsockoptInt(socket, unix.SOL_IPV6, unix.IPV6_V6ONLY, 0)
	}
	if err := errors.Join(err, unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(socket, everywhere)); err != nil {
		return 0, err
	}
	bound, err := unix.Getsockname(socket)
	switch bound := bound.(type) {
	case *unix.SockaddrInet4:
		return uint16(bound.Port), nil
	case *unix.SockaddrInet6:
		return uint16(bound.Port), nil
	}
	return 0, err
}

// occupy listens on a port as another program would.
func (n *node) occupy() (io.Closer, uint16) {
	n.t.Helper()
	port := n.freePort()
	return n.listenOn(netip.AddrPortFrom(loopback(n.family), port)), port
}

func (n *node) listenOn(at netip.AddrPort) io.Closer {
	n.t.Helper()
	socket, err := net.Listen("tcp", at.String())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { socket.Close() })
	return socket
}

func loopback(family service.Family) netip.Addr {
	if family == service.IPv4 {
		return netip.MustParseAddr("127.0.0.1")
	}
	return netip.IPv6Loopback()
}

// families are those that this machine has.
func families(t *testing.T) []service.Family {
	t.Helper()
	return slices.DeleteFunc([]service.Family{service.IPv4, service.IPv6}, func(f service.Family) bool {
		socket, err := net.Listen("tcp", netip.AddrPortFrom(loopback(f), 0).String())
		if err != nil {
			t.Logf("without %s: %v", f, err)
			return true
		}
		socket.Close()
		return false
	})
}

func checkOf(name string, port uint16, local int) service.HealthCheck {
	return service.HealthCheck{
		Service: types.NamespacedName{Namespace: "shop", Name: name}, Port: port, LocalEndpoints: local,
	}
}

// eventually waits for something that happens by itself.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !happened(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
