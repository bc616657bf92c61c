package conntrack

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/pkg/conntrack"
	"github.com/fairlead/fairlead/pkg/service"
)

// connect opens a connection and returns at once. What comes of it can be read once it has come about or failed.
func (n *node) connect(host *lab.Host, to netip.AddrPort) <-chan error {
	n.t.Helper()
	result := make(chan error, 1)
	go func() {
		conn, err := host.Dial(n.t.Context(), "tcp", to, host.AddrPort(n.family, 0))
		if err == nil {
			err = conn.Close()
		}
		result <- err
	}()
	n.eventually("the node sees the first packet", func() error {
		if len(n.tracked(syscall.IPPROTO_TCP)) == 0 {
			return errors.New("no connection is tracked")
		}
		return nil
	})
	return result
}

// comesAbout expects that a connection is made: by the second or third attempt of the client's kernel, from the same port.
func (n *node) comesAbout(result <-chan error) {
	n.t.Helper()
	n.eventually("the connection comes about", func() error {
		select {
		case err := <-result:
			if err != nil {
				n.t.Fatal(err)
			}
			return nil
		default:
			return errors.New("it is being opened")
		}
	})
}

// TestAConnectionThatWasTooEarly opens a connection before the rules stand.
func TestAConnectionThatWasTooEarly(t *testing.T) {
	onEach(t, conntrack.Options{}, func(_ *testing.T, n *node) {
		a := n.pod("a")
		result := n.connect(n.pod("client"), n.vip(10, 80))
		n.serve(n.port("web", service.TCP, n.vip(10, 80), 0, a))
		n.comesAbout(result)
	})
}

// TestAConnectionThatIsOpenedToAnEndpointThatIsGone begins with an endpoint whose machine has failed, and replaces it.
func TestAConnectionThatIsOpenedToAnEndpointThatIsGone(t *testing.T) {
	onEach(t, conntrack.Options{UnrepliedTCP: true}, func(_ *testing.T, n *node) {
		a := n.pod("a")
		web := func(endpoint netip.AddrPort) *service.Port {
			p := n.port("web", service.TCP, n.vip(10, 80), 0)
			p.Endpoints = []service.Endpoint{{Address: endpoint}}
			return p
		}
		n.serve(web(n.vip(99, 8080))) // an address that nobody has
		result := n.connect(n.pod("client"), n.vip(10, 80))
		n.serve(web(n.at(a)))
		n.comesAbout(result)
	})
}

// TestStandingConnectionsAreLeftAlone takes the endpoint of a connection out of the Service, and the Service away.
func TestStandingConnectionsAreLeftAlone(t *testing.T) {
	onEach(t, conntrack.Options{UnrepliedTCP: true}, func(t *testing.T, n *node) {
		a, b := n.pod("a"), n.pod("b")
		n.serve(n.port("web", service.TCP, n.vip(10, 80), 30080, a))
		conn, err := n.pod("client").Connect(t.Context(), n.vip(10, 80))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		for _, step := range [][]*service.Port{{n.port("web", service.TCP, n.vip(10, 80), 30080, b)}, {}, {n.port("web", service.TCP, n.vip(10, 80), 30080, b)}} {
			n.serve(step...)
			if err := conn.Echo(t.Context(), "still there"); err != nil {
				t.Fatal(err)
			}
		}
	})
}
