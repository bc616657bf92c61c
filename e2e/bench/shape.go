package bench

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
)

// mostComments is how many endpoints a cluster may have for kube-proxy to explain its rules in comments.
const mostComments = 1000

// Jumps leads from the built-in chains into kube-proxy's. It makes them with single commands before it loads its rules.
const Jumps = `*filter
:KUBE-SERVICES - [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
COMMIT
*nat
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
COMMIT
`

// What stands in each of kube-proxy's restores around the rules of Services.
const (
	filterTable = `*filter
:KUBE-NODEPORTS - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
`
	natChains = `*nat
:KUBE-NODEPORTS - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
`
	natRules = `-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
`
	natEnd = `-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
COMMIT
`
)

// Full writes what kube-proxy loads for a cluster at its start.
func Full(c Cluster) []byte {
	return shape(c, func(int) bool { return true })
}

// Partial writes what kube-proxy loads when the endpoints of one service have changed: its chains, and the list of all
// services. In a large cluster the chain of an endpoint that is gone stays until some later clean-up.
func Partial(c Cluster, changed int) []byte {
	return shape(c, func(n int) bool { return n == changed })
}

func shape(c Cluster, whole func(n int) bool) []byte {
	w := shapeWriter{comments: c.endpoints() <= mostComments}
	for n := range c {
		w.dispatch(&c[n])
		if whole(n) {
			w.service(&c[n])
		}
	}
	return slices.Concat([]byte(filterTable+natChains), w.chains.Bytes(), []byte(natRules), w.rules.Bytes(), []byte(natEnd))
}

// shapeWriter writes the nat table in kube-proxy's shape: chains are declared at the top, rules follow service by service.
type shapeWriter struct {
	comments      bool
	chains, rules bytes.Buffer
}

// dispatch writes a service's rule in the list that every first packet walks.
func (w *shapeWriter) dispatch(s *Service) {
	fmt.Fprintf(&w.rules, "-A KUBE-SERVICES%s -m tcp -p tcp -d %s --dport %d -j %s\n",
		w.comment(s.Name+" cluster IP"), s.Address.Addr(), s.Address.Port(), serviceChain(s))
}

// service writes the chain of a service and those of its endpoints.
func (w *shapeWriter) service(s *Service) {
	name := serviceChain(s)
	w.declare(name)
	fmt.Fprintf(&w.rules, "-A %s%s -m tcp -p tcp -d %s --dport %d ! -s %s -j KUBE-MARK-MASQ\n",
		name, w.comment(s.Name+" cluster IP"), s.Address.Addr(), s.Address.Port(), Pods)
	for i, e := range s.Endpoints {
		var chance string
		if left := len(s.Endpoints) - i; left > 1 {
			chance = fmt.Sprintf(" -m statistic --mode random --probability %0.10f", 1/float64(left))
		}
		fmt.Fprintf(&w.rules, "-A %s%s%s -j %s\n", name, w.comment(s.Name+" -> "+e.Address.String()), chance, endpointChain(s, e))
	}
	for _, e := range s.Endpoints {
		w.endpoint(s, e)
	}
}

// endpoint writes the chain of an endpoint, which sees to it that the endpoint can reach itself.
func (w *shapeWriter) endpoint(s *Service, e Endpoint) {
	name, comment := endpointChain(s, e), w.comment(s.Name)
	w.declare(name)
	fmt.Fprintf(&w.rules, "-A %s%s -s %s -j KUBE-MARK-MASQ\n", name, comment, e.Address.Addr())
	fmt.Fprintf(&w.rules, "-A %s%s -m tcp -p tcp -j DNAT --to-destination %s\n", name, comment, e.Address)
}

func (w *shapeWriter) declare(chain string) {
	fmt.Fprintf(&w.chains, ":%s - [0:0]\n", chain)
}

func (w *shapeWriter) comment(text string) string {
	if !w.comments {
		return ""
	}
	return fmt.Sprintf(" -m comment --comment %q", servicePrefix+text)
}

const servicePrefix = "default/"

func serviceChain(s *Service) string { return "KUBE-SVC-" + digest(s.Name) }

func endpointChain(s *Service, e Endpoint) string {
	return "KUBE-SEP-" + digest(s.Name+e.Address.String())
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base32.StdEncoding.EncodeToString(sum[:])[:16]
}
