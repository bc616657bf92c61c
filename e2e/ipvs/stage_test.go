//go:build ipvs

package ipvs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// stage is a site with what the tests look at.
type stage struct {
	*site.Site
	t            *testing.T
	node1, node2 *lab.Host
	client       *lab.Host // a pod on the node
	kernel       *kernel   // the node's
	ports        uint16    // source ports that nextPort has returned
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{Site: site.New(t, "nft"), t: t}
	s.node1, s.node2 = s.Nodes[0], s.Nodes[1]
	s.client = s.Pod(s.node1, "client", 9000)
	s.kernel = kernelOf(t, s.node1)
	t.Cleanup(func() {
		if t.Failed() {
			s.logConnections()
		}
	})
	return s
}

// logConnections logs the connections of the node, which show where the packets of a question without an answer went. A program that is
// missing has nothing to log.
func (s *stage) logConnections() {
	for _, command := range []string{"ipvsadm -lnc", "conntrack -L -f ipv4", "conntrack -L -f ipv6"} {
		words := strings.Fields(command)
		if out, err := s.node1.Output(context.Background(), words[0], words[1:]...); err == nil {
			s.t.Logf("%s:\n%s", command, out)
		}
	}
}

// nextPort is a source port for what does not take the next one of its host. The range is below those ports (see package lab), and
// Fairlead itself listens on 10249 and 10256.
func (s *stage) nextPort() uint16 {
	const first = 10300
	s.ports++
	return first + s.ports - 1
}

// askers are a pod, the node itself and an outsider.
func (s *stage) askers() []*lab.Host { return []*lab.Host{s.client, s.node1, s.Outside} }

// serviceRanges are where the tests have virtual IPs.
var serviceRanges = []string{"10.96.0.0/16", "198.51.100.0/24", "203.0.113.0/24", "fd00:10:96::/64", "2001:db8::/64", "2001:db8:1::/64"}

// openOutside makes the outsider send packets for virtual IPs to the node, and ignore redirects to a better way.
func (s *stage) openOutside() {
	s.t.Helper()
	for _, text := range serviceRanges {
		p := netip.MustParsePrefix(text)
		if err := s.Outside.AddRoute(p, s.node1.Address(familyOf(p.Addr()))); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, name := range []string{"ipv4/conf/all/accept_redirects", "ipv4/conf/eth0/accept_redirects", "ipv6/conf/eth0/accept_redirects"} {
		if err := s.Outside.SetSysctl(name, "0"); err != nil {
			s.t.Fatal(err)
		}
	}
}

const firstSync = "Synced for the first time"

// start runs Fairlead, which verifies the kernel every second, and waits until it serves.
func (s *stage) start(flags ...string) {
	s.t.Helper()
	said := s.Log.Count(firstSync)
	s.Start(append([]string{"--ipvs-sync-period", "1s"}, flags...)...)
	s.Eventually("Fairlead serves both families", func() error {
		if n := s.Log.Count(firstSync) - said; n != len(lab.Families) {
			return fmt.Errorf("%d are served", n)
		}
		return nil
	})
}

// endpoint is a pod behind a Service, with what its slice says of it, as servicetest.Slice spells that.
type endpoint struct {
	pod, node *lab.Host
	says      string
}

// webPorts are those of a Service that answers over TCP and UDP, and podPorts those of its endpoints.
var webPorts, podPorts = []string{"tcp:80", "udp:80/UDP"}, []string{"tcp:8080", "udp:8080/UDP"}

// behind writes the slices of a Service with webPorts.
func (s *stage) behind(name string, endpoints ...endpoint) {
	s.t.Helper()
	var objects []runtime.Object
	for _, f := range lab.Families {
		var list []string
		for _, e := range endpoints {
			list = append(list, strings.TrimSpace(site.At(f, e.pod, e.node)+" "+e.says))
		}
		slice := site.Slice(f, name, "0", list...)
		slice.Ports = servicetest.Slice("", "", podPorts).Ports
		objects = append(objects, slice)
	}
	s.Write("behind-"+name, objects...)
}

// remove deletes a manifest.
func (s *stage) remove(name string) {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.Manifests, name+".yaml")); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
}

// vip is a port of the n-th cluster IP.
func vip(f lab.Family, n int, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(site.ClusterIP(f, n), port)
}

// served asks until only some pods answer: ten times in a row.
func (s *stage) served(from *lab.Host, network string, to netip.AddrPort, by ...*lab.Host) {
	s.t.Helper()
	s.Eventually(fmt.Sprintf("%s %s from %s is served by those in service", network, to, from.Name), func() error {
		for range 10 {
			answer, err := from.Ask(s.t.Context(), network, to, lab.Reset(), lab.Timeout(lab.AttemptTimeout))
			if err != nil {
				return err
			}
			if !isOneOf(answer.Server.Addr(), by...) {
				return errAnswered(answer)
			}
		}
		return nil
	})
}

// errAnswered reports an answer of the wrong server.
type errAnswered lab.Answer

func (e errAnswered) Error() string { return e.Server.String() + " answers" }

func isOneOf(addr netip.Addr, hosts ...*lab.Host) bool {
	for _, h := range hosts {
		if addr == h.Address(familyOf(addr)) {
			return true
		}
	}
	return false
}

// becomes waits until the kernel's state is as wanted. The rules are read last, and only if all else is: that starts programs, which slow
// down whatever is to change the state.
func (s *stage) becomes(what string, want []string) {
	s.t.Helper()
	s.Eventually(what, func() error {
		have, err := s.kernel.things()
		if err == nil && cmp.Equal(want[:min(len(have), len(want))], have) {
			have, err = s.kernel.state()
		}
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want, have); diff != "" {
			time.Sleep(100 * time.Millisecond)
			return fmt.Errorf("the kernel has (-want +have):\n%s", diff)
		}
		return nil
	})
}

// webStage is a stage with two pods for Service web. The first one is its endpoint.
func webStage(t *testing.T, flags ...string) (s *stage, one, two *lab.Host) {
	t.Helper()
	s = newStage(t)
	s.openOutside()
	one, two = s.Pod(s.node1, "one", 8080), s.Pod(s.node2, "two", 8080)
	s.Write("web", site.DualStack("web", 10, webPorts...))
	s.behind("web", endpoint{one, s.node1, ""})
	s.start(flags...)
	return s, one, two
}

// hasWeight returns an error unless the real server of a pod has a weight; -1: there is no such real server.
func (s *stage) hasWeight(network string, at netip.AddrPort, pod *lab.Host, weight int) error {
	weights, err := s.kernel.real(network, at)
	actual, ok := weights[pod.AddrPort(familyOf(at.Addr()), 8080)]
	if !ok {
		actual = -1
	}
	if err == nil && actual != weight {
		return fmt.Errorf("%s %s: %s has weight %d: %v", network, at, pod.Name, actual, weights)
	}
	return err
}

// webHasWeight is hasWeight for Service web, in both families.
func (s *stage) webHasWeight(network string, pod *lab.Host, weight int) error {
	return errors.Join(s.hasWeight(network, vip(lab.IPv4, 10, 80), pod, weight), s.hasWeight(network, vip(lab.IPv6, 10, 80), pod, weight))
}

// weighs waits until a pod's real servers of Service web have a weight; -1: there are none.
func (s *stage) weighs(network string, pod *lab.Host, weight int) {
	s.t.Helper()
	s.Eventually(fmt.Sprintf("%s weighs %d", pod.Name, weight), func() error { return s.webHasWeight(network, pod, weight) })
}

// everywhere tries Service web from all askers, in both families.
func (s *stage) everywhere(try func(from *lab.Host, to netip.AddrPort)) {
	for _, f := range lab.Families {
		for _, from := range s.askers() {
			try(from, vip(f, 10, 80))
		}
	}
}

// standing opens connections to Service web from everywhere.
func (s *stage) standing() (conns map[string]*lab.Conn) {
	s.t.Helper()
	conns = map[string]*lab.Conn{}
	s.everywhere(func(from *lab.Host, to netip.AddrPort) {
		conn, err := from.Connect(s.t.Context(), to, lab.Reset())
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = conn.Close() })
		conns[fmt.Sprintf("%s to %s", from.Name, to)] = conn
	})
	return conns
}
