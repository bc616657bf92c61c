package iptables

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
	"github.com/fairlead/fairlead/pkg/xtables/xtablestest"
)

// depth is the longest way through jumps and gotos from a chain down.
func depth(k *xtablestest.Kernel, table, chain string) int {
	below := map[string]int{} // by chain; many lead to the same one
	var from func(chain string) int
	from = func(chain string) int {
		deepest, done := below[chain]
		if done {
			return deepest
		}
		for _, rule := range k.Rules.Rules(table, chain) {
			if to := target(rule); to != "" {
				deepest = max(deepest, 1+from(to))
			}
		}
		below[chain] = deepest
		return deepest
	}
	return from(chain)
}

// target is the chain of ours that a rule leads to, if it does.
func target(rule string) string {
	words := strings.Fields(rule)
	if to := words[len(words)-1]; strings.HasPrefix(to, "FL-") {
		return to
	}
	return ""
}

// nestedAddresses differ at every digit of their address: the worst that can be written into a Service.
func nestedAddresses(digits int) []string {
	var list []string
	for n := range digits {
		for d := range inline + 1 {
			text := []byte(strings.Repeat("1", digits))
			text[n] = "23456789"[d]
			var addr [16]byte
			for i := range text {
				addr[i/2] |= (text[i] - '0') << (4 * (1 - i%2))
			}
			a := netip.AddrFrom16(addr)
			if digits == 8 {
				a = netip.AddrFrom4([4]byte(addr[:4]))
			}
			list = append(list, a.String())
		}
	}
	return list
}

func TestNoAddressesMakeATreeDeeperThanTheKernelTakes(t *testing.T) {
	for _, family := range families {
		b := service.NewBuilder(service.Options{Family: family})
		clusterIP, pod := "10.96.0.1", "10.244.%d.%d"
		if family == service.IPv6 {
			clusterIP, pod = "fd00::1", "fd00:1::%x:%x"
		}
		svc := servicetest.Service("web", clusterIP, "80")
		// All the chains that a packet can meet: a firewall, a choice by client, affinity.
		svc.Spec.Type, svc.Spec.ExternalTrafficPolicy = "LoadBalancer", "Local"
		svc.Spec.SessionAffinity = "ClientIP"
		svc.Spec.LoadBalancerSourceRanges = []string{"192.0.2.0/24", "2001:db8::/32"}
		for _, ip := range nestedAddresses(family.Bits() / 4) {
			svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
		}
		b.SetService(svc)
		var endpoints []string
		for i := range 10000 {
			endpoints = append(endpoints, fmt.Sprintf(pod, i/200, i%200+1))
		}
		b.SetSlice(servicetest.Slice("web", "web-1", []string{"8080"}, endpoints...))
		table, _, _ := b.Build()
		k := newKernel()
		if err := testBackend(Options{Family: family}, k).Sync(t.Context(), table, nil); err != nil {
			t.Fatal(err)
		}
		if got := depth(k, "nat", "PREROUTING"); got < 10 || got > mostJumps {
			t.Errorf("%s: %d chains below each other, and the kernel takes %d", family, got, mostJumps)
		}
	}
}

// TestTheWayToAServiceIsShort holds what makes a connection to the last Service as quick as one to the only Service.
func TestTheWayToAServiceIsShort(t *testing.T) {
	const services, mostRules = 10000, 120
	b := service.NewBuilder(service.Options{Family: service.IPv4, Pods: service.LocalTraffic{Sources: netip.MustParsePrefix("10.244.0.0/16")}})
	for i := range services {
		name := fmt.Sprintf("service-%d", i)
		b.SetService(servicetest.Service(name, fmt.Sprintf("10.96.%d.%d", i/250, i%250+1), "80"))
		b.SetSlice(servicetest.Slice(name, name, []string{"8080"}, fmt.Sprintf("10.244.%d.%d", i/250, i%250+1)))
	}
	table, _, _ := b.Build()
	k := newKernel()
	if err := testBackend(Options{Family: service.IPv4}, k).Sync(t.Context(), table, nil); err != nil {
		t.Fatal(err)
	}
	// The longest list on each level of the way, as if it were walked to its end.
	rules := map[int]int{}
	var walk func(chain string, level int)
	walk = func(chain string, level int) {
		list := k.Rules.Rules("nat", chain)
		rules[level] = max(rules[level], len(list))
		for _, rule := range list {
			if to := target(rule); to != "" {
				walk(to, level+1)
			}
		}
	}
	walk(chainServices, 0)
	total := 0
	for _, n := range rules {
		total += n
	}
	if total > mostRules {
		t.Errorf("the longest way to a Service has %d rules, %v by level; it should be %d at the most", total, rules, mostRules)
	}
}
