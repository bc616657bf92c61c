package iptables

import (
	"crypto/sha256"
	"encoding/base32"
	"regexp"
	"strings"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// prefixAll begins the names of all our chains. It is not that of any other backend, nor the beginning of one.
const prefixAll = "FL-"

// Chains that are always there, whatever the Table holds.
const (
	chainServices      = "FL-SERVICES"
	chainClusterIPs    = "FL-CLUSTER-IPS"
	chainExternalIPs   = "FL-EXTERNAL-IPS"
	chainNodePorts     = "FL-NODE-PORTS"
	chainPostrouting   = "FL-POSTROUTING"
	chainMasquerade    = "FL-MASQUERADE"
	chainHairpin       = "FL-HAIRPIN"
	chainInput         = "FL-INPUT"
	chainForward       = "FL-FORWARD"
	chainFilter        = "FL-FILTER"
	chainHealthChecks  = "FL-HEALTH-CHECKS"
	chainNoEndpoints   = "FL-NO-ENDPOINTS"
	chainNoNodePorts   = "FL-NO-NODE-PORTS"
	prefixService      = "FL-S-" // all endpoints of a service port
	prefixLocal        = "FL-L-" // those on this node
	prefixExternal     = "FL-E-" // the choice between these two, by client
	prefixFirewall     = "FL-F-" // who is admitted to a load-balancer IP of one
	prefixGroup        = "FL-G-" // a part of the endpoints of one
	prefixCount        = "FL-K-" // counts the connections of one
	prefixAffinity     = "FL-A-" // one endpoint that clients stay with
	prefixTrial        = "FL-T-" // ways to one that are tried
	prefixClusterTree  = "FL-C-"
	prefixExternalTree = "FL-X-"
	prefixNodePortTree = "FL-N-"
	prefixHairpinTree  = "FL-H-"
	prefixRejectTree   = "FL-R-"
	prefixHealthTree   = "FL-P-"
)

// ours matches the names of the chains that this package makes, and those that older versions made, with shorter hashes: what it matches may
// be deleted.
var ours = regexp.MustCompile(`^FL-(SERVICES|CLUSTER-IPS|EXTERNAL-IPS|NODE-PORTS|POSTROUTING|MASQUERADE|HAIRPIN|INPUT|FORWARD|` +
	`FILTER|HEALTH-CHECKS|NO-ENDPOINTS|NO-NODE-PORTS|[SLEFKAslefkaT]-.*-([A-Z2-7]{11}|[A-Z2-7]{16})|` +
	`[Gg]-([A-Z2-7]{11}-|[A-Z2-7]{16}-[sl])[0-9a-f]+|[CXNHRP]-([0-9a-f]+(-[0-9])?|[A-Z2-7]{16}|[A-Z2-7]{23}))$`)

// hashLength is how many characters of hash tell service ports apart in chain names: 80 bits, as in kube-proxy. Whoever names Services and
// their ports can search for two names with the same hash, which takes 2^40 attempts; see claims for what happens then.
const hashLength = 16

// portChain names a chain of a service port. It is the same after every restart, and begins with the Service's name, so that a
// listing can be read and searched. what tells chains of one kind and port apart.
func portChain(prefix string, name service.PortName, what ...string) string {
	id := identity(name, what...)
	room := xtables.MaxChainName - len(prefix) - len("-") - len(id)
	readable := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, name.Name)
	return prefix + readable[:min(room, len(readable))] + "-" + id
}

// groupPrefix begins the names of the chains below a pool of endpoints of the given kind.
func groupPrefix(kind string, name service.PortName) string {
	letter := strings.ToLower(strings.Trim(strings.TrimPrefix(kind, prefixAll), "-"))
	return prefixGroup + identity(name) + "-" + letter
}

// identity is what tells the chains of a service port, or those of it that are about one thing, from all others.
func identity(name service.PortName, what ...string) string {
	return identityHash(strings.Join(append([]string{name.String()}, what...), " "))
}

// identityHash is a variable for tests, which need names that collide.
var identityHash = func(text string) string { return hash(text, hashLength) }

func hash(text string, length int) string {
	sum := sha256.Sum256([]byte(text))
	return base32.StdEncoding.EncodeToString(sum[:])[:length]
}
