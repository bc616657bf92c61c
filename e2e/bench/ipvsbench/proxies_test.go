package ipvsbench

import (
	"fmt"
	"strings"

	"github.com/fairlead/fairlead/e2e/apiserver"
	"github.com/fairlead/fairlead/e2e/bench"
	"github.com/fairlead/fairlead/e2e/site"
)

// variant is the iptables that the proxies use for the little that IPVS leaves to it.
const variant = "nft"

// proxy is a program to measure: with the settings that it has by default, but for where it runs.
type proxy struct {
	name      string
	program   func() (string, error)
	arguments []string // more than those that all take
}

// common is what all proxies are told. The node's limits of connection tracking are left alone.
func common(server string) []string {
	return []string{
		"--master=" + server,
		"--hostname-override=" + bench.Node,
		"--proxy-mode=ipvs",
		"--cluster-cidr=" + bench.Pods.String(),
		"--conntrack-max-per-core=0",
	}
}

var known = map[string]proxy{
	"kube-proxy": {
		program:   func() (string, error) { return apiserver.KubernetesProgram("kube-proxy") },
		arguments: []string{"--conntrack-min=0"},
	},
	"fairlead": {
		program:   func() (string, error) { return site.Program, nil },
		arguments: []string{"--iptables-variant=" + variant},
	},
}

// chosen are the proxies with these names. One that is named again has its number in its name.
func chosen(names string) ([]proxy, error) {
	var list []proxy
	seen := map[string]int{}
	for name := range strings.SplitSeq(names, ",") {
		p, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("no proxy is called %q", name)
		}
		p.name = name
		if seen[name]++; seen[name] > 1 {
			p.name = fmt.Sprintf("%s-%d", name, seen[name])
		}
		list = append(list, p)
	}
	return list, nil
}
