package differential

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/fairlead/fairlead/e2e/cases"
	"github.com/fairlead/fairlead/e2e/tracer"
	"github.com/fairlead/fairlead/pkg/service"
)

// rules are what kube-proxy has written for one family.
type rules struct {
	family service.Family
	text   string
	parsed *tracer.Ruleset
}

func parseRules(family service.Family, text string) (*rules, error) {
	parsed, err := tracer.Parse(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("parse kube-proxy's rules: %w", err)
	}
	return &rules{family, text, parsed}, nil
}

// answer says what becomes of a question's packet.
func (r *rules) answer(p cases.Probe) (chances, error) {
	if !p.Want.With.IsValid() {
		return traced(r.parsed, r.family, p.Packet)
	}
	remembering, err := parseRules(r.family, remember(r.text, p.Want.With))
	if err != nil {
		return nil, err
	}
	return traced(remembering.parsed, r.family, p.Packet)
}

var (
	seen = regexp.MustCompile(`-m recent --rcheck .*--name (\S+) .*--rsource `)
	dnat = regexp.MustCompile(`(?m)^-A (\S+) .*-j DNAT --to-destination (\S+)$`)
)

// later asks by clients that are not new, where they have to stay with their endpoint: with the last one, which kube-proxy looks
// for last. How long a client is remembered cannot be asked, as no time passes in a trace.
func later(probes []cases.Probe) (list []cases.Probe) {
	for _, p := range probes {
		if p.Want.Stays && !p.Want.With.IsValid() {
			p.Want.With = p.Want.Destinations[len(p.Want.Destinations)-1].Endpoint
			list = append(list, p)
		}
	}
	return list
}

// remember makes the rules those of a kernel that remembers the client at an endpoint. The tracer has no history, so that to
// it nobody was seen before: the chains of that endpoint lose the question whether the client was.
func remember(text string, endpoint netip.AddrPort) string {
	of := map[string]bool{} // by name of a chain, which is that of its list of clients too
	for _, m := range dnat.FindAllStringSubmatch(text, -1) {
		of[m[1]] = m[2] == endpoint.String()
	}
	return seen.ReplaceAllStringFunc(text, func(match string) string {
		if of[seen.FindStringSubmatch(match)[1]] {
			return ""
		}
		return match
	})
}
