// Package differential asks a real kube-proxy what the table of cases asks everybody: it runs on a node of the lab, with the
// objects of all cases in a real API server, and a tracer walks the rules that it writes. Where its answers are not those of
// the table, the difference is meant and listed, here and in docs/differences.md. It needs root, iptables, etcd,
// kube-apiserver and kube-proxy.
package differential

import (
	"os"
	"testing"

	"github.com/fairlead/fairlead/e2e/site"
)

func TestMain(m *testing.M) {
	os.Exit(site.Main(m))
}
