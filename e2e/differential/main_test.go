// Package differential asks a real kube-proxy what the table of cases asks everybody: it runs on a node of the lab, with the
// objects of all cases in a real API server, and a tracer walks the rules that it writes. Where its answers are not those of
// the table, the difference is meant and listed, here and in docs/differences.md. It needs root, iptables, etcd,
// kube-apiserver and kube-proxy.
package differential

import (
	"fmt"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make network namespaces: run them as root")
		os.Exit(1)
	}
	os.Exit(m.Run())
}
