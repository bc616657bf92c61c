package metrics_test

import (
	"testing"

	"github.com/fairlead/fairlead/pkg/metrics"
)

// TestKindsOfDrift has what the backends say, word by word.
func TestKindsOfDrift(t *testing.T) {
	for text, want := range map[string]string{
		"nat FL-SERVICES: the chain is gone":                             "chain",
		"nat FL-S-web-AAAAAAAAAAAAAAAA: the rules have been changed":     "chain",
		"filter FL-OLD: the chain does not belong there":                 "chain",
		"nat PREROUTING: the jump to FL-SERVICES is gone":                "jump",
		"nat OUTPUT: the jump to FL-SERVICES comes after one to FLV-...": "jump",
		"the routing rule for packets to virtual IPs is gone":            "routing_rule",
		"route to 10.96.0.10 is gone":                                    "route",
		"route to 10.96.0.10 does not belong there":                      "route",
		"set FLV4-VIRTUAL is gone":                                       "set",
		"entry of set FLV4-VIRTUAL 10.96.0.10,tcp:80 is gone":            "set",
		"virtual server 10.96.0.10,tcp:80 is gone":                       "virtual_server",
		"virtual server fd00:10:96::a,udp:53 has been changed":           "virtual_server",
		"virtual server 10.96.0.10,tcp:80 does not belong there":         "virtual_server",
		"virtual server 10.96.0.10,tcp:80 has other real servers":        "real_servers",
		"what no backend says":                                           "other",
	} {
		if got := metrics.DriftKind(text); got != want {
			t.Errorf("%q is of kind %s, want %s", text, got, want)
		}
	}
}
