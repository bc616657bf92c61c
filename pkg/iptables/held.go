package iptables

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/pkg/service"
)

// What the filter table refuses stays refused until the nat table forwards it. After an error and after a restart only the kernel knows
// what that is, so it is read from the rules there.

// refuses reports whether the rules of a chain have to be kept when the kernel is read, as they refuse frontends.
func refuses(table, chain string) bool {
	if table != "filter" {
		return false
	}
	return chain == chainNoEndpoints || chain == chainNoNodePorts || strings.HasPrefix(chain, prefixRejectTree) || strings.HasPrefix(chain, prefixNodePortTree)
}

// heldRefusals lists what the filter table in the kernel refuses, sorted. A rule that we would not have written is passed over.
func (l layout) heldRefusals(rules map[string][]string) []refusal {
	var list []refusal
	walk := heldWalk{rules: rules, seen: map[string]bool{}}
	for _, nodePort := range []bool{false, true} {
		from := chainNoEndpoints
		if nodePort {
			from = chainNoNodePorts
		}
		walk.chain(from, heldMatch{}, func(m heldMatch, action string) {
			if action != l.reject() && action != "-j DROP" || m.protocol == "" || m.port == 0 {
				return
			}
			k := portKey(protocolNamed(m.protocol), m.port)
			if !nodePort {
				if !m.to.IsValid() || !m.to.IsSingleIP() || service.FamilyOf(m.to.Addr()) != l.family {
					return
				}
				k = addressKey(m.to.Addr()) + k
			}
			list = append(list, refusal{entry{k, action}, nodePort})
		})
	}
	slices.SortFunc(list, compareRefusals)
	return slices.CompactFunc(list, func(x, y refusal) bool { return x.key == y.key })
}

func protocolNamed(name string) service.Protocol {
	at := slices.IndexFunc(service.Protocols[:], func(p service.Protocol) bool { return p.String() == name })
	return service.Protocols[max(0, at)]
}

// heldMatch is what a packet is known to match at a rule of a tree.
type heldMatch struct {
	to       netip.Prefix
	protocol string
	port     uint16 // 0: not one port alone
}

// heldWalk goes through trees of rules.
type heldWalk struct {
	rules map[string][]string // by chain, as iptables-save prints them without "-A CHAIN"
	seen  map[string]bool
}

// chain calls found with each rule below a chain that does not lead to another chain of the tree.
func (w heldWalk) chain(name string, at heldMatch, found func(m heldMatch, action string)) {
	if w.seen[name] {
		return
	}
	w.seen[name] = true
	for _, rule := range w.rules[name] {
		m, action, ok := at.narrowed(rule)
		if !ok {
			continue
		}
		if to := strings.Fields(action)[1]; strings.HasPrefix(to, prefixAll) {
			w.chain(to, m, found)
		} else {
			found(m, action)
		}
	}
}

// narrowed is what matches one more rule, and what that does.
func (m heldMatch) narrowed(rule string) (narrowed heldMatch, action string, ok bool) {
	words := strings.Fields(rule)
	for i := 0; i+1 < len(words); i += 2 {
		value := words[i+1]
		switch words[i] {
		case "-d":
			to, err := netip.ParsePrefix(value)
			if err != nil {
				return m, "", false
			}
			m.to = to
		case "-p":
			m.protocol = value
		case "-m":
		case "--dport":
			port, _ := strconv.ParseUint(value, 10, 16) // 0 for a range
			m.port = uint16(port)
		case "-j", "-g":
			return m, strings.Join(words[i:], " "), true
		default:
			return m, "", false
		}
	}
	return m, "", false
}
