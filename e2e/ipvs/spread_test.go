//go:build ipvs && soak

package ipvs

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service"
)

// annotated gives a Service an annotation.
func annotated(svc *corev1.Service, name, value string) *corev1.Service {
	if svc.Annotations == nil {
		svc.Annotations = map[string]string{}
	}
	svc.Annotations[name] = value
	return svc
}

func TestServicesAreSpreadAsTheyAsk(t *testing.T) {
	sticky := site.DualStack("sticky", 13, webPorts...)
	sticky.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	weighted := annotated(site.DualStack("weighted", 10, webPorts...), service.AnnotationScheduler, "wrr")
	annotated(weighted, service.AnnotationWeights, "node/node1=1, *=3")
	s := spreadStage(t, weighted,
		annotated(site.DualStack("mh", 11, webPorts...), service.AnnotationScheduler, "mh"),
		annotated(site.DualStack("sh", 12, webPorts...), service.AnnotationScheduler, "sh"),
		sticky,
	)
	tests := []struct {
		name string
		n    int
		want []int
	}{
		{"by weight: 1, 1 and 3", 10, []int{5, 5, 15}},
		{"mh: a client stays where it is", 11, []int{25}},
		{"sh: a client stays where it is", 12, []int{25}},
		{"session affinity: a client stays where it is", 13, []int{25}},
	}
	for _, test := range tests {
		for _, f := range lab.Families {
			for _, network := range []string{"tcp", "udp"} {
				t.Run(fmt.Sprintf("%s/%s/%s", test.name, f, network), func(t *testing.T) {
					if counts := s.counts(network, vip(f, test.n, 80), 25); !slices.Equal(counts, test.want) {
						t.Errorf("25 connections are spread %v, want %v", counts, test.want)
					}
				})
			}
		}
	}
}

// TestAClientWithAffinityMovesOnWhenItsEndpointGoes at once, not when its affinity times out, and then stays at the new endpoint.
func TestAClientWithAffinityMovesOnWhenItsEndpointGoes(t *testing.T) {
	s, one, two := webStage(t)
	three := s.Pod(s.node1, "three", 8080)
	sticky := site.DualStack("web", 10, webPorts...)
	sticky.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	s.Write("web", sticky)
	for _, f := range lab.Families {
		for _, network := range []string{"tcp", "udp"} {
			s.Eventually("the Service has its affinity", func() error {
				vs, err := s.kernel.ipvs.GetService(virtualServer(network, vip(f, 10, 80)))
				if err == nil && vs.Flags&persistent == 0 {
					err = errors.New("it has none")
				}
				return err
			})
			s.served(s.client, network, vip(f, 10, 80), one)
		}
	}
	conns := s.standing()
	s.behind("web", endpoint{two, s.node2, ""}, endpoint{three, s.node1, ""})
	s.weighs("tcp", one, 0)
	s.weighs("udp", one, -1)
	for _, f := range lab.Families {
		for _, network := range []string{"tcp", "udp"} {
			if counts := s.counts(network, vip(f, 10, 80), 10); !slices.Equal(counts, []int{10}) {
				t.Errorf("%s %s: 10 connections are spread %v", f, network, counts)
			}
		}
	}
	for name, conn := range conns {
		if err := conn.Echo(t.Context(), "still there"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
