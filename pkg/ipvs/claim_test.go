package ipvs

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/pkg/service"
)

// contest has two Services at addresses with one alias: the victim's is of a load balancer or an external IP, the rival's an external IP.
type contest struct {
	*stage
	victimIP, rivalIP string
}

func newContest(s *stage) contest {
	c := contest{stage: s}
	c.victimIP, c.rivalIP = twins(s)
	s.slice("web", []string{"8080"}, "here1", "away1")
	s.slice("api", []string{"8080"}, "here1", "away1", "away2")
	return c
}

func (c contest) victim(kind string, created int64) {
	svc := c.plain("web", "80")
	svc.CreationTimestamp = metav1.Unix(created, 0)
	if kind == "balancer" {
		svc.Spec.Type = corev1.ServiceTypeLoadBalancer
		svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: c.victimIP}}
	} else {
		svc.Spec.ExternalIPs = []string{c.victimIP}
	}
	externalLocal(svc)
	c.builder.SetService(svc)
}

func (c contest) rival(created int64) {
	svc := c.plain("api", "80")
	svc.CreationTimestamp = metav1.Unix(created, 0)
	svc.Spec.ExternalIPs = []string{c.rivalIP}
	externalLocal(svc)
	c.builder.SetService(svc)
}

// want says how many endpoints pods get to at the two addresses, and that the loser alone has been told.
func (c contest) want(what string, victim, rival int, loser string) {
	c.t.Helper()
	if v, r := c.insiders(c.victimIP), c.insiders(c.rivalIP); v != victim || r != rival {
		c.t.Errorf("%s: pods get to %d endpoints of the victim and %d of the rival, want %d and %d", what, v, r, victim, rival)
	}
	for _, event := range c.events {
		if !strings.HasPrefix(event, loser+" AliasTaken") {
			c.t.Errorf("%s: event %q", what, event)
		}
	}
	if len(c.events) == 0 {
		c.t.Errorf("%s: nobody has been told", what)
	}
}

func TestTheBetterClaimHasTheAlias(t *testing.T) {
	for _, test := range []struct {
		name          string
		kind          string
		older         bool // the victim is
		victim, rival int
		loser         string
	}{
		{"a load balancer's address goes before an external IP, whatever their age", "balancer", false, 2, 1, "api"},
		{"the older one of two external IPs", "external", true, 2, 1, "api"},
		{"the older one of two external IPs, the other way round", "external", false, 1, 3, "web"},
	} {
		created := int64(20)
		if test.older {
			created = 5
		}
		orders := map[string]func(c contest){
			"the victim comes first": func(c contest) { c.victim(test.kind, created); c.sync(); c.rival(10); c.sync() },
			"the rival comes first":  func(c contest) { c.rival(10); c.sync(); c.victim(test.kind, created); c.sync() },
			"both come at once":      func(c contest) { c.rival(10); c.victim(test.kind, created); c.sync() },
		}
		for order, do := range orders {
			t.Run(test.name+", "+order, func(t *testing.T) {
				forBoth(t, func(s *stage) {
					c := newContest(s)
					do(c)
					c.want("at first", test.victim, test.rival, test.loser)
					s.resync()
					c.want("after a full sync", test.victim, test.rival, test.loser)
					s.restart()
					s.take()
					s.resync()
					s.wantWrites("a restart", "")
					c.want("after a restart", test.victim, test.rival, test.loser)
				})
			})
		}
	}
}

func TestAnAliasGoesToTheNextWhenItIsFree(t *testing.T) {
	forBoth(t, func(s *stage) {
		c := newContest(s)
		c.rival(10)
		c.victim("balancer", 20)
		s.sync()
		deleteService("web")(s)
		s.sync()
		if n := c.insiders(c.rivalIP); n != 3 {
			t.Errorf("pods get to %d endpoints", n)
		}
		s.take()
		s.resync()
		s.wantWrites("a full sync", "")
	})
}

// TestARestartGivesTheAliasToTheBetterClaim: what is in the kernel is of a time when the better one was not there.
func TestARestartGivesTheAliasToTheBetterClaim(t *testing.T) {
	forBoth(t, func(s *stage) {
		c := newContest(s)
		c.rival(10)
		s.sync()
		c.victim("balancer", 20)
		s.restart()
		s.resync()
		c.want("after the restart", 2, 1, "api")
	})
}

// TestAnAliasThatCannotBeGivenUpStays, and goes over once the kernel lets it.
func TestAnAliasThatCannotBeGivenUpStays(t *testing.T) {
	forBoth(t, func(s *stage) {
		c := newContest(s)
		c.rival(10)
		s.sync()
		s.kernel.refuse = func(line string) bool { return strings.Contains(line, "INSIDE - ") }
		c.victim("balancer", 20)
		table, dirty, _ := s.builder.Build()
		err := s.backend.Sync(t.Context(), table, dirty)
		unwritten, ok := errors.AsType[service.Unwritten](err)
		if !ok || len(unwritten) != 1 {
			t.Fatalf("got %v", err)
		}
		for name := range unwritten {
			if name.Name != "api" {
				t.Errorf("unwritten: %s", name)
			}
		}
		if v, r := c.insiders(c.victimIP), c.insiders(c.rivalIP); v != 1 || r != 3 {
			t.Errorf("pods get to %d endpoints of the victim and %d of the rival", v, r)
		}
		s.kernel.refuse = nil
		must(t, s.backend.Sync(t.Context(), table, service.PortSet{}))
		if v, r := c.insiders(c.victimIP), c.insiders(c.rivalIP); v != 2 || r != 1 {
			t.Errorf("then pods get to %d endpoints of the victim and %d of the rival", v, r)
		}
	})
}
