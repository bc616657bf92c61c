package kubeproxy

import (
	"strings"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// traces tells whether a kube-proxy may have begun to write since other traces, without reading any rules: on a node with 10,000 Services
// that would cost seconds.
type traces struct {
	// table: its nftables table is there.
	table bool
	// device is the index of kube-ipvs0, or 0.
	device int
	// chains are those of its chains that are there, in the nft variant of iptables.
	chains string
	// builtins changes with its jumps, in the legacy variant, where the kernel cannot be asked for one chain.
	builtins string
}

// marks are the chains that are asked for: the first has all Services in both modes of rules, the others are made first of all in
// iptables mode, and no other program's rule can keep them.
var marks = []struct{ table, chain string }{
	{"nat", "KUBE-SERVICES"}, {"nat", "KUBE-PROXY-CANARY"}, {"filter", "KUBE-PROXY-CANARY"}, {"mangle", "KUBE-PROXY-CANARY"},
}

// findTraces looks for those of one family.
func findTraces(family service.Family) (t traces, err error) {
	if t.table, err = tableStands(family); err != nil {
		return t, err
	}
	link, err := device()
	if err != nil {
		return t, err
	}
	if link != nil {
		t.device = link.Attrs().Index
	}
	var chains []string
	for _, m := range marks {
		stands, err := chainStands(family, m.table, m.chain)
		if err != nil {
			return t, err
		}
		if stands {
			chains = append(chains, m.chain+" in "+m.table)
		}
	}
	t.chains = strings.Join(chains, ", ")
	t.builtins, err = xtables.LegacyBuiltins(family)
	return t, err
}

// String names what has been written, for the node's operator.
func (t traces) String() string {
	var list []string
	if t.table {
		list = append(list, "the nftables table "+tableName)
	}
	if t.device != 0 {
		list = append(list, "the device "+deviceName)
	}
	if t.chains != "" {
		list = append(list, "the iptables chains "+t.chains)
	}
	if len(list) == 0 {
		return "iptables chains that begin with KUBE-"
	}
	return strings.Join(list, ", ")
}
