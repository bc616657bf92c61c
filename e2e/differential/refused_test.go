package differential

import (
	"strings"
	"testing"
)

// refusals lists the cases that cannot be asked, as the API server does not take their objects, with what it says. Objects
// from elsewhere, or from older versions of the API, can be like that all the same.
var refusals = map[string]string{
	"two Services may have one node port for different protocols":                       "port is already allocated",
	"a source range that cannot be read admits nobody, and does not spoil the others":   "must be a valid CIDR",
	"a pod that is the only endpoint reaches itself through a cluster IP":               "ports[0].name: Required",
	"a node port answers on localhost to the node itself":                               "ports[0].name: Required",
	"two Services share an external IP by ports and by protocols":                       "ports[0].name: Required",
	"internal Local: without an endpoint here, but some elsewhere, packets are dropped": "ports[0].name: Required",
}

// checkRefusals compares the trials that the API server refused with the list.
func checkRefusals(t *testing.T, all []*trial) {
	t.Helper()
	met := map[string]bool{}
	for _, tr := range all {
		if tr.refused == nil {
			continue
		}
		met[tr.Name] = true
		switch says, listed := refusals[tr.Name]; {
		case !listed:
			t.Errorf("%s: the API server refuses its objects, and the case is not listed: %v", tr, tr.refused)
		case !strings.Contains(tr.refused.Error(), says):
			t.Errorf("%s: the API server refuses its objects for another reason than %q: %v", tr, says, tr.refused)
		default:
			t.Logf("not asked: %s: %v", tr, tr.refused)
		}
	}
	for name := range refusals {
		if !met[name] {
			t.Errorf("%q is listed as refused by the API server, and is not", name)
		}
	}
}
