package health

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/pkg/service"
)

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
	n.client = &http.Client{Transport: transport, Timeout: 5 * time.Second}
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

// freePort is a port that nobody listens on.
func (n *node) freePort() uint16 {
	n.t.Helper()
	socket, port := n.occupy(0)
	socket.Close()
	return port
}

// occupy listens on a port as another program would; 0: any.
func (n *node) occupy(port uint16) (io.Closer, uint16) {
	n.t.Helper()
	socket, err := net.Listen("tcp", netip.AddrPortFrom(loopback(n.family), port).String())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { socket.Close() })
	return socket, socket.Addr().(*net.TCPAddr).AddrPort().Port()
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
	for end := time.Now().Add(5 * time.Second); !happened(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
