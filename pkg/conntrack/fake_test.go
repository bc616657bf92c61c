package conntrack

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/pkg/service"
)

// fakeKernel is a table in memory, which counts what it is asked.
type fakeKernel struct {
	flows   []flow
	dumps   int
	asked   service.Protocol // by the last dump
	removed []string
	errs    []error // of the next dumps
	stuck   error   // of every removal
}

func (k *fakeKernel) dump(only service.Protocol, stale func(flow) bool) ([]flow, error) {
	k.dumps++
	k.asked = only
	var err error
	if len(k.errs) > 0 {
		if err, k.errs = k.errs[0], k.errs[1:]; err != nil && !errors.Is(err, errInterrupted) {
			return nil, err
		}
	}
	var found []flow
	for _, f := range k.flows {
		if (only == 0 || f.protocol == only) && stale(f) {
			found = append(found, f)
		}
	}
	return found, err
}

func (k *fakeKernel) remove(f flow) error {
	if k.stuck != nil {
		return k.stuck
	}
	k.removed = append(k.removed, string(f.identity))
	k.flows = slices.DeleteFunc(k.flows, func(o flow) bool { return string(o.identity) == string(f.identity) })
	return nil
}

// hosts are what the tests' addresses stand for in each family. Where a text has no host, it is a node port.
var hosts = map[service.Family]map[string]string{
	service.IPv4: {"": "", "vip": "10.96.0.10", "vip2": "10.96.0.20", "node": "192.0.2.1", "node2": "192.0.2.2", "away": "198.51.100.1",
		"a": "10.244.1.1", "b": "10.244.1.2", "c": "10.244.2.3", "loopback": "127.0.0.1"},
	service.IPv6: {"": "", "vip": "fd00:96::10", "vip2": "fd00:96::20", "node": "2001:db8::1", "node2": "2001:db8::2", "away": "2001:db8:ff::1",
		"a": "fd00:244::1", "b": "fd00:244::2", "c": "fd00:244::3", "loopback": "::1"},
}

// at reads "vip:53", or ":30053" for a node port.
func at(f service.Family, text string) netip.AddrPort {
	host, number, _ := strings.Cut(text, ":")
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		panic(text)
	}
	addr, known := hosts[f][host]
	if !known {
		panic(text)
	}
	if addr == "" {
		return netip.AddrPortFrom(netip.Addr{}, uint16(port))
	}
	return netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(port))
}

// parse reads a flow: "udp vip:53 a:53", from the client to a frontend and from there to an endpoint; "udp vip:53" alone was not
// translated. It may end in "opening".
func parse(f service.Family, text string) flow {
	words := strings.Fields(text)
	protocols := map[string]service.Protocol{"tcp": service.TCP, "udp": service.UDP, "sctp": service.SCTP}
	result := flow{protocol: protocols[words[0]], to: at(f, words[1]), identity: []byte(text)}
	result.from = result.to
	for _, word := range words[2:] {
		if word == "opening" {
			result.opening = true
		} else {
			result.from = at(f, word)
		}
	}
	return result
}

// port describes a service port by texts, each a list of addresses.
type port struct {
	name, at, to   string
	local, serving string
	protocol       service.Protocol // UDP where it is not said
	scope          service.Scope
}

func (p port) build(f service.Family) *service.Port {
	if p.protocol == 0 {
		p.protocol = service.UDP
	}
	list := func(text string) (found []service.Endpoint) {
		for _, word := range strings.Fields(text) {
			found = append(found, service.Endpoint{Address: at(f, word)})
		}
		slices.SortFunc(found, func(x, y service.Endpoint) int { return x.Address.Compare(y.Address) })
		return found
	}
	result := &service.Port{Name: service.PortName{Name: p.name, Protocol: p.protocol}, Endpoints: list(p.to), Local: list(p.local)}
	for _, word := range strings.Fields(p.at) {
		front := service.Frontend{Address: at(f, word), Scope: p.scope, WithoutEndpoints: service.Reject}
		if !front.Address.Addr().IsValid() {
			front.Kind = service.NodePort
		}
		result.Frontends = append(result.Frontends, front)
	}
	if p.serving == "" {
		p.serving = p.to
	}
	if p.protocol == service.UDP && p.serving != "nobody" {
		for _, e := range list(p.serving) {
			result.Serving = append(result.Serving, e.Address)
		}
	}
	return result
}

func buildTable(f service.Family, ports ...port) *service.Table {
	t := &service.Table{Family: f, NodePorts: service.NodeAddresses{All: true, Loopback: true}}
	for _, p := range ports {
		t.Ports = append(t.Ports, p.build(f))
	}
	slices.SortFunc(t.Ports, func(x, y *service.Port) int { return x.Name.Compare(y.Name) })
	return t
}

// differences names the ports in which two tables differ.
func differences(was, is *service.Table) service.PortSet {
	dirty := service.PortSet{}
	for _, t := range []*service.Table{was, is} {
		if t == nil {
			continue
		}
		for _, p := range t.Ports {
			if !was.Port(p.Name).Equal(is.Port(p.Name)) {
				dirty.Add(p.Name)
			}
		}
	}
	return dirty
}

// testFlows are Flows over a table in memory. The node has one address and the loopback ones.
func testFlows(f service.Family, options Options, flows ...string) (*Flows, *fakeKernel) {
	k := &fakeKernel{}
	for _, text := range flows {
		k.flows = append(k.flows, parse(f, text))
	}
	options.Family = f
	options.NodeAddress = func(a netip.Addr) bool { return a == at(f, "node:1").Addr() || a.IsLoopback() }
	result := NewFlows(options)
	result.kernel = k
	return result, k
}
