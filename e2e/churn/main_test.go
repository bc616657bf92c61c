// Package churn tests what shows only over time and under load: thousands of changes through a real API server, while packets
// flow and the program is measured. It needs root, iptables, etcd, and kube-apiserver and kube-proxy by hack/kube/build.sh.
package churn

import (
	"os"
	"testing"

	"github.com/fairlead/fairlead/e2e/site"
)

func TestMain(m *testing.M) { os.Exit(site.Main(m)) }
