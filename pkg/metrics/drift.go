package metrics

import "strings"

// driftKinds are the kinds of what another program has changed, with what tells them: the backends name each difference in words, for the
// log and for events. The first that is found counts.
var driftKinds = []struct {
	kind  string
	words []string
}{
	{"routing_rule", []string{"the routing rule "}},
	{"route", []string{"route to "}},
	{"set", []string{"set FL", "entry of set "}},
	{"real_servers", []string{" has other real servers"}},
	{"virtual_server", []string{"virtual server "}},
	{"jump", []string{": the jump to "}},
	{"chain", []string{": the chain ", ": the rules have been changed"}},
}

// otherDrift is what none of them is.
const otherDrift = "other"

// DriftKind tells the kind of a difference that a backend has named.
func DriftKind(difference string) string {
	for _, k := range driftKinds {
		for _, words := range k.words {
			if strings.Contains(difference, words) {
				return k.kind
			}
		}
	}
	return otherDrift
}
