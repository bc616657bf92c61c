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
func nestedAddresses(f service.Family) []string {
	var list []string
	n := digits(f.Bits())
	for at := range n - 1 {
		for d := range inline + 1 {
			k := []byte(strings.Repeat("\x01", n))
			k[at+1] = byte(2 + d) // the first digit may be short
			list = append(list, strings.TrimSuffix(addressShape(f, "").prefix(key(k)), fmt.Sprintf("/%d", f.Bits())))
		}
	}
	return list
}

func TestKeysMatchWhatTheyWereMadeOf(t *testing.T) {
	for _, text := range []string{"10.96.0.1", "255.255.255.255", "0.0.0.1", "172.30.213.7", "fd00::1", "2001:db8:1234:5678:9abc:def0:8765:4321"} {
		addr := netip.MustParseAddr(text)
		shape := addressShape(service.FamilyOf(addr), "-d")
		k := addressKey(addr)
		for n := range len(k) + 1 {
			prefix := netip.MustParsePrefix(shape.prefix(k[:n]))
			if want := netip.PrefixFrom(addr, prefix.Bits()).Masked(); prefix != want || n == len(k) && prefix.Bits() != addr.BitLen() {
				t.Errorf("%d digits of %s match %s", n, addr, prefix)
			}
		}
		for _, port := range []uint16{1, 80, 32767, 32768, 65535} {
			k := portKey(service.UDP, port)[protocolDigits:]
			for n := 1; n <= len(k); n++ {
				var low, high uint16
				if got, err := fmt.Sscanf(portRange(string(k[:n])), "%d:%d", &low, &high); got == 1 && err != nil {
					high = low
				}
				if port < low || port > high || int(high-low) != 1<<(digitBits*(len(k)-n))-1 {
					t.Errorf("%d digits of port %d match %d to %d", n, port, low, high)
				}
			}
		}
	}
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
		for _, ip := range nestedAddresses(family) {
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
