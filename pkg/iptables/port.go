package iptables

import (
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// portChains renders the chains of one service port, children first. A port that nothing leads to, or that leads nowhere, has none
// (but for the one that counts), nor has one that is not there.
func (l layout) portChains(t *service.Table, p *service.Port) []xtables.Chain {
	if p == nil || len(p.Frontends) == 0 {
		return nil
	}
	chains := l.countChains(p)
	if unserved(p) {
		return chains
	}
	chains = append(chains, affinityChains(p)...)
	if leads(p, service.Cluster, service.NodeForOutsiders) {
		chains = append(chains, l.pool(prefixService, p, p.Endpoints)...)
	}
	if leads(p, service.Node, service.NodeForOutsiders) {
		chains = append(chains, l.pool(prefixLocal, p, p.Local)...)
	}
	if leads(p, service.NodeForOutsiders) {
		chains = append(chains, l.externalChain(t, p))
	}
	for _, f := range p.Frontends {
		if f.Clients != nil {
			chains = append(chains, firewallChain(p, f))
		}
	}
	return chains
}

func leads(p *service.Port, scopes ...service.Scope) bool {
	return slices.ContainsFunc(p.Frontends, func(f service.Frontend) bool { return slices.Contains(scopes, f.Scope) })
}

// unserved reports whether a port has no endpoint for anybody.
func unserved(p *service.Port) bool { return len(p.Endpoints) == 0 && len(p.Local) == 0 }

// externalChain renders who goes where with externalTrafficPolicy Local. The mark for masquerading is set when a packet gets here.
func (l layout) externalChain(t *service.Table, p *service.Port) xtables.Chain {
	w := xtables.NewChain(portChain(prefixExternal, p.Name))
	everywhere := "-g " + portChain(prefixService, p.Name)
	if pods := xtables.PodMatch(t.Pods); pods != "" {
		w.Rule(pods, l.clearMark())
		w.Rule(pods, everywhere)
	}
	w.Rule("-m addrtype --src-type LOCAL", everywhere)
	w.Rule(l.clearMark())
	w.Rule(toPool(prefixLocal, p, p.Local))
	return w.Chain
}

// toPool leads to a pool of endpoints. A packet for an empty one is left as it is, and no other rule may take it before the filter
// table sees it.
func toPool(kind string, p *service.Port, endpoints []service.Endpoint) string {
	if len(endpoints) == 0 {
		return "-j ACCEPT"
	}
	return "-g " + portChain(kind, p.Name)
}

// firewallChain renders who is admitted to a frontend. Everybody else's packets are left as they are, for the filter table to drop.
func firewallChain(p *service.Port, f service.Frontend) xtables.Chain {
	w := xtables.NewChain(firewallName(p, f))
	for _, r := range f.Clients {
		w.Rule("-s", r.String(), behindFirewall(p, f))
	}
	w.Rule("-j ACCEPT")
	return w.Chain
}

func firewallName(p *service.Port, f service.Frontend) string {
	return portChain(prefixFirewall, p.Name, f.Address.Addr().String())
}

func firewallIdentity(p *service.Port, f service.Frontend) string {
	return identity(p.Name, f.Address.Addr().String())
}

// natAction is what the nat table does with a packet for a frontend.
func natAction(p *service.Port, f service.Frontend) string {
	switch {
	case unserved(p):
		return "-j ACCEPT"
	case f.Clients != nil:
		return "-g " + firewallName(p, f)
	}
	return behindFirewall(p, f)
}

func behindFirewall(p *service.Port, f service.Frontend) string {
	switch f.Scope {
	case service.Node:
		return toPool(prefixLocal, p, p.Local)
	case service.NodeForOutsiders:
		return "-g " + portChain(prefixExternal, p.Name)
	}
	return toPool(prefixService, p, p.Endpoints)
}

// filterAction is what the filter table does with a packet for a frontend that the nat table has left as it is; Forward if that
// cannot be.
func filterAction(p *service.Port, f service.Frontend) service.Action {
	switch {
	case unserved(p), f.Scope != service.Cluster && len(p.Local) == 0:
		return f.WithoutEndpoints
	case f.Clients != nil:
		return service.Drop
	}
	return service.Forward
}
