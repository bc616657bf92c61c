package iptables

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// flat is how many endpoints a chain lists one by one. A connection walks half of the list on average, so a longer list is
// cut in sixteen, again and again.
const flat = 32

// candidate is an endpoint with its place in the tree: a hash of its address, so that endpoints are spread evenly over the
// branches, and one that comes or goes changes only its own branch.
type candidate struct {
	service.Endpoint
	digits string
}

func candidates(endpoints []service.Endpoint) []candidate {
	list := make([]candidate, len(endpoints))
	for i, e := range endpoints {
		list[i].Endpoint = e
		if len(endpoints) > flat {
			text, _ := e.Address.MarshalText()
			sum := sha256.Sum256(text)
			list[i].digits = hex.EncodeToString(sum[:8])
		}
	}
	if len(endpoints) > flat {
		slices.SortFunc(list, func(x, y candidate) int { return strings.Compare(x.digits, y.digits) })
	}
	return list
}

// choice renders the random choice between endpoints. Rule after rule takes its share of what the rules before it have
// left over, and the last one takes the rest, so that every endpoint has the same chance.
type choice struct {
	port   *service.Port
	group  string // prefix of the names of its lower chains
	chains []xtables.Chain
}

// pool renders the chain of the given kind that sends to endpoints of a port, children first. There is none without endpoints.
func (l layout) pool(kind string, p *service.Port, endpoints []service.Endpoint) []xtables.Chain {
	if len(endpoints) == 0 {
		return nil
	}
	name := portChain(kind, p.Name)
	c := choice{port: p, group: groupPrefix(kind, p.Name)}
	w := xtables.NewChain(name)
	l.count(w, p)
	if p.Affinity > 0 {
		stay(w, p, endpoints)
	}
	c.level(w, "", candidates(endpoints))
	return c.chains
}

func (c *choice) level(w *xtables.ChainWriter, path string, list []candidate) {
	if len(list) <= flat || len(path) == deepestChoice {
		for i, e := range list {
			c.send(w, e, 1, len(list)-i)
		}
	} else {
		c.branches(w, path, list)
	}
	c.chains = append(c.chains, w.Chain)
}

func (c *choice) branches(w *xtables.ChainWriter, path string, list []candidate) {
	for len(list) > 0 {
		digit := list[0].digits[len(path)]
		n := slices.IndexFunc(list, func(e candidate) bool { return e.digits[len(path)] != digit })
		if n < 0 {
			n = len(list)
		}
		if n == 1 {
			c.send(w, list[0], 1, len(list))
		} else {
			below := path + string(digit)
			c.level(xtables.NewChain(c.group+below), below, list[:n])
			w.End(append(appendChance(w.Begin(), n, len(list)), " -g "+c.group+below...))
		}
		list = list[n:]
	}
}

// send writes the rule that takes part of whole packets to an endpoint.
func (c *choice) send(w *xtables.ChainWriter, e candidate, part, whole int) {
	text := w.Begin()
	if c.port.Affinity > 0 {
		text = appendChance(text, part, whole)
		text = append(text, " -g "+affinityChain(c.port.Name, e.Endpoint)...)
	} else {
		text = append(text, " -p "+c.port.Name.Protocol.String()...)
		text = appendChance(text, part, whole)
		text = append(text, " -j DNAT --to-destination "...)
		text = e.Address.AppendTo(text)
	}
	w.End(text)
}

// appendChance writes a match for part of whole packets. The kernel keeps a probability as a multiple of 2^-31 (xt_statistic),
// and iptables-save prints that number back with eleven digits, which we have to write for our text to equal it.
func appendChance(text []byte, part, whole int) []byte {
	if part == whole {
		return text
	}
	const one = 1 << 31
	kept := math.Round(one*float64(part)/float64(whole)) / one
	text = append(text, " -m statistic --mode random --probability "...)
	return strconv.AppendFloat(text, kept, 'f', 11, 64)
}
