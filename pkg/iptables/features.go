package iptables

import (
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// feature is a match or target that not every kernel has, and not every service port needs.
type feature struct {
	module string // and the kernel's option for it
	table  string
	rule   string // a rule that needs nothing else
	// needed reports whether the rules of a service port need it.
	needed func(p *service.Port) bool
}

var features = []feature{
	{
		"xt_recent (CONFIG_NETFILTER_XT_MATCH_RECENT)", "nat", "-m recent --rcheck --seconds 1 --name " + prefixTrial + "A",
		func(p *service.Port) bool { return p.Affinity > 0 && !unserved(p) },
	},
	{
		"xt_sctp (CONFIG_NETFILTER_XT_MATCH_SCTP)", "nat", "-p sctp -m sctp --dport 1",
		func(p *service.Port) bool { return p.Name.Protocol == service.SCTP },
	},
	{
		"xt_statistic (CONFIG_NETFILTER_XT_MATCH_STATISTIC)", "nat", "-m statistic --mode random --probability 0.5",
		func(p *service.Port) bool { return max(len(p.Endpoints), len(p.Local)) > 1 },
	},
	{
		"xt_addrtype (CONFIG_NETFILTER_XT_MATCH_ADDRTYPE)", "nat", "-m addrtype --src-type LOCAL",
		func(p *service.Port) bool { return !unserved(p) && leads(p, service.NodeForOutsiders) },
	},
	{
		"ipt_REJECT and ip6t_REJECT (CONFIG_IP_NF_TARGET_REJECT, CONFIG_IP6_NF_TARGET_REJECT)", "filter", "-j REJECT",
		func(p *service.Port) bool {
			return slices.ContainsFunc(p.Frontends, func(f service.Frontend) bool { return filterAction(p, f) == service.Reject })
		},
	},
}

// needs reports whether the rules of a service port need a feature.
func (f feature) needs(p *service.Port) bool { return len(p.Frontends) > 0 && f.needed(p) }

// trial is a chain with a rule that needs the feature.
func (f feature) trial() xtables.Chain {
	w := xtables.NewChain(prefixTrial + "-" + hash(f.module, hashLength))
	w.Rule(f.rule)
	return w.Chain
}
