package service

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// readPolicies reads the traffic policies and what hangs on them.
func (s *spec) readPolicies(svc *corev1.Service) {
	if p := svc.Spec.InternalTrafficPolicy; p != nil && *p == corev1.ServiceInternalTrafficPolicyLocal {
		s.internal = Node
	}
	if svc.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal {
		return
	}
	s.external = NodeForOutsiders
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer || svc.Spec.HealthCheckNodePort == 0 {
		return
	}
	port, err := parsePort(svc.Spec.HealthCheckNodePort)
	if err != nil {
		s.problem("load balancers cannot ask for local endpoints; correct it in the Service", "spec.healthCheckNodePort: %v", err)
		return
	}
	s.healthPort = port
}

// The bounds that the API sets for a client's affinity, and its default.
const (
	longestAffinity = 24 * time.Hour
	defaultAffinity = 3 * time.Hour
)

func (s *spec) readAffinity(svc *corev1.Service) {
	if svc.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return
	}
	s.affinity = defaultAffinity
	config := svc.Spec.SessionAffinityConfig
	if config == nil || config.ClientIP == nil || config.ClientIP.TimeoutSeconds == nil {
		return
	}
	timeout := time.Duration(*config.ClientIP.TimeoutSeconds) * time.Second
	if timeout <= 0 || timeout > longestAffinity {
		s.problem(fmt.Sprintf("%d seconds hold instead; correct it in the Service", int(defaultAffinity.Seconds())),
			"spec.sessionAffinityConfig: %d seconds is not between 1 and %d", *config.ClientIP.TimeoutSeconds, int(longestAffinity.Seconds()))
		return
	}
	s.affinity = timeout
}

// readSourceRanges reads whom a load balancer's addresses admit. A list that names ranges, but none of this family, admits
// nobody in this family: whoever wrote it wanted to keep others out (kube-proxy leaves the family open). Unless it admits everybody
// in the other family.
func (s *spec) readSourceRanges(svc *corev1.Service, family Family) {
	if len(svc.Spec.LoadBalancerSourceRanges) == 0 {
		return
	}
	s.clients = []netip.Prefix{}
	everybody := false
	for _, text := range svc.Spec.LoadBalancerSourceRanges {
		prefix, err := parseRange(text)
		if err != nil {
			s.problem("nobody is admitted by it; correct it in the Service",
				"spec.loadBalancerSourceRanges: %s is not a range of addresses such as 192.0.2.0/24", quoted(text))
			continue
		}
		if FamilyOf(prefix.Addr()) != family {
			everybody = everybody || prefix.Bits() == 0
			continue
		}
		if prefix.Bits() == 0 {
			s.clients = nil
			return
		}
		s.clients = append(s.clients, prefix)
	}
	if everybody && len(s.clients) == 0 {
		s.clients = nil
		return
	}
	slices.SortFunc(s.clients, netip.Prefix.Compare)
	s.clients = slices.Compact(s.clients)
}
