package iptables

import (
	"slices"
	"strconv"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// Session affinity needs a chain for each endpoint, which remembers the clients that it was chosen for in a list of the kernel
// (xt_recent) of the same name. The list goes with the last rule that names it. It holds the latest 100 clients, unless the
// module was loaded with another ip_list_tot.

func affinityChain(name service.PortName, e service.Endpoint) string {
	return portChain(prefixAffinity, name, e.Address.String())
}

// list names a chain's list of clients by address, spelled as iptables-save does.
func list(chain string, e service.Endpoint) string {
	mask := "255.255.255.255"
	if e.Address.Addr().Is6() {
		mask = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
	}
	return "--name " + chain + " --mask " + mask + " --rsource"
}

func affinityIdentity(name service.PortName, e service.Endpoint) string {
	return identity(name, e.Address.String())
}

// stickyEndpoints are the endpoints that clients stay with, each once. A port's endpoints of this node are among all of its endpoints, or
// they are further ones.
func stickyEndpoints(p *service.Port) []service.Endpoint {
	endpoints := slices.Concat(p.Endpoints, p.Local)
	slices.SortFunc(endpoints, func(x, y service.Endpoint) int { return x.Address.Compare(y.Address) })
	return slices.CompactFunc(endpoints, func(x, y service.Endpoint) bool { return x.Address == y.Address })
}

// affinityChains renders the chains of a port's endpoints.
func affinityChains(p *service.Port) []xtables.Chain {
	if p.Affinity == 0 {
		return nil
	}
	endpoints := stickyEndpoints(p)
	chains := make([]xtables.Chain, 0, len(endpoints))
	for _, e := range endpoints {
		w := xtables.NewChain(affinityChain(p.Name, e))
		w.Rule("-p", p.Name.Protocol.String(), "-m recent --set", list(w.Name(), e), "-j DNAT --to-destination", e.Address.String())
		chains = append(chains, w.Chain)
	}
	return chains
}

// stay writes the rules that send a client where it was before, as long as that is one of the endpoints.
func stay(w *xtables.ChainWriter, p *service.Port, endpoints []service.Endpoint) {
	seconds := strconv.Itoa(int(p.Affinity.Seconds()))
	for _, e := range endpoints {
		name := affinityChain(p.Name, e)
		w.Rule("-m recent --rcheck --seconds", seconds, "--reap", list(name, e), "-g", name)
	}
}
