//go:build ipvs

package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
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
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{Site: site.New(t, "nft"), t: t}
	s.node1, s.node2 = s.Nodes[0], s.Nodes[1]
	s.client = s.Pod(s.node1, "client", 9000)
	s.kernel = kernelOf(t, s.node1)
	return s
}

// askers are a pod, the node itself and an outsider.
func (s *stage) askers() []*lab.Host { return []*lab.Host{s.client, s.node1, s.Outside} }

// serviceRanges are where the tests have virtual IPs.
var serviceRanges = []string{"10.96.0.0/16", "198.51.100.0/24", "203.0.113.0/24", "fd00:10:96::/64", "2001:db8::/64", "2001:db8:1::/64"}

// openOutside makes the outsider send packets for virtual IPs to the node, whatever anybody says of a better way.
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

// start runs Fairlead, with a look at the kernel every second, until it serves.
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

// annotated gives a Service an annotation.
func annotated(svc *corev1.Service, name, value string) *corev1.Service {
	if svc.Annotations == nil {
		svc.Annotations = map[string]string{}
	}
	svc.Annotations[name] = value
	return svc
}

// vip is a port of the n-th cluster IP.
func vip(f lab.Family, n int, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(site.ClusterIP(f, n), port)
}

// served asks until one of some pods answers, and nobody else does: ten times in a row.
func (s *stage) served(from *lab.Host, network string, to netip.AddrPort, by ...*lab.Host) {
	s.t.Helper()
	s.Eventually(fmt.Sprintf("%s %s from %s is served by those in service", network, to, from.Name), func() error {
		for range 10 {
			answer, err := from.Ask(s.t.Context(), network, to, lab.Reset())
			if err != nil {
				return err
			}
			if !isOneOf(answer.Server.Addr(), by...) {
				return fmt.Errorf("%s answers", answer.Server)
			}
		}
		return nil
	})
}

func isOneOf(addr netip.Addr, hosts ...*lab.Host) bool {
	for _, h := range hosts {
		if addr == h.Address(familyOf(addr)) {
			return true
		}
	}
	return false
}

// becomes waits until the kernel's state is as wanted. It reads the rules last: to start programs takes the time of those who mend them.
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
