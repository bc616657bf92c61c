// Package churn tests what shows only over time and under load: many changes through a real API server, while packets flow. The
// long tests, which also measure the program, have the build tag soak. All need root, iptables, etcd, and kube-apiserver by
// hack/kube/build.sh; the long ones need kube-proxy as well.
package churn

import (
	"os"
	"testing"

	"github.com/fairlead/fairlead/e2e/site"
)

func TestMain(m *testing.M) { os.Exit(site.Main(m)) }
