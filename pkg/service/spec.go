package service

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// LabelProxyName on a Service, with any value, says that another proxy serves it.
const LabelProxyName = "service.kubernetes.io/service-proxy-name"

// spec is what the compiler needs of a Service, in one family, without a pointer into it.
type spec struct {
	name     types.NamespacedName
	created  int64 // as in Port
	vips     []vip
	ports    []specPort
	internal Scope // of the cluster IP
	external Scope // of all other addresses
	affinity time.Duration
	// scheduling and weights say how connections are spread, where the mode has a choice.
	scheduling Scheduling
	weights    *weights
	// clients of load-balancer IPs; nil: everybody.
	clients []netip.Prefix
	// healthPort is where a load balancer asks for local endpoints; 0: nowhere.
	healthPort uint16
	problems   problems
}

type vip struct {
	kind    Kind
	address netip.Addr
}

type specPort struct {
	name     string
	protocol Protocol
	port     uint16
	nodePort uint16 // 0: none
}

// Served reports whether a Service is ours to serve: it has a cluster IP, or will not get one, and names no other proxy.
func Served(svc *corev1.Service) bool {
	if _, other := svc.Labels[LabelProxyName]; other {
		return false
	}
	return svc.Spec.Type != corev1.ServiceTypeExternalName && svc.Spec.ClusterIP != corev1.ClusterIPNone
}

// readService reads the part of a Service that is of one family, or nil if there is none. What it cannot use it leaves out
// and names in problems.
func readService(svc *corev1.Service, family Family) *spec {
	if !Served(svc) {
		return nil
	}
	s := &spec{name: types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}}
	s.problems.object = "Service " + s.name.String()
	if !svc.CreationTimestamp.IsZero() {
		s.created = svc.CreationTimestamp.UnixNano()
	}
	clusterIPs := svc.Spec.ClusterIPs
	if len(clusterIPs) == 0 {
		clusterIPs = []string{svc.Spec.ClusterIP}
	}
	s.addVIPs(ClusterIP, "spec.clusterIPs", clusterIPs, family)
	if len(s.vips) == 0 {
		if len(s.problems.list) > 0 {
			return s
		}
		return nil // the Service is not of this family, and then its external addresses are not either
	}
	s.addVIPs(ExternalIP, "spec.externalIPs", svc.Spec.ExternalIPs, family)
	s.addVIPs(LoadBalancerIP, "status.loadBalancer.ingress", ingressVIPs(svc), family)
	s.vips = sortedVIPs(s.vips)
	for i := range svc.Spec.Ports {
		s.addPort(&svc.Spec.Ports[i])
	}
	s.ports = uniquePorts(s.ports)
	s.readPolicies(svc)
	s.readAffinity(svc)
	s.readSourceRanges(svc, family)
	s.readScheduling(svc)
	return s
}

// ingressVIPs lists the load-balancer addresses that the node has to answer on itself. With ipMode Proxy the balancer
// changes the destination before the packet gets here, and the node must not short-cut it (KEP-1860). One that has only a
// host name is none of ours.
func ingressVIPs(svc *corev1.Service) []string {
	var ips []string
	for _, in := range svc.Status.LoadBalancer.Ingress {
		if in.IP == "" || (in.IPMode != nil && *in.IPMode != corev1.LoadBalancerIPModeVIP) {
			continue
		}
		ips = append(ips, in.IP)
	}
	return ips
}

func (s *spec) problem(mend, what string, args ...any) { s.problems.add(mend, what, args...) }

// sortedVIPs sorts by kind and address. An address that a Service names twice counts as what goes first among claims.
func sortedVIPs(vips []vip) []vip {
	slices.SortFunc(vips, func(x, y vip) int {
		return cmp.Or(x.address.Compare(y.address), cmp.Compare(x.kind.rank(), y.kind.rank()))
	})
	vips = slices.CompactFunc(vips, func(x, y vip) bool { return x.address == y.address })
	slices.SortFunc(vips, func(x, y vip) int { return cmp.Or(cmp.Compare(x.kind, y.kind), x.address.Compare(y.address)) })
	return vips
}

// uniquePorts leaves the first port of each name and protocol: the API refuses a second one.
func uniquePorts(ports []specPort) []specPort {
	if len(ports) < 2 {
		return ports
	}
	type key struct {
		name     string
		protocol Protocol
	}
	known := make(map[key]struct{}, len(ports))
	return slices.DeleteFunc(ports, func(p specPort) bool {
		_, again := known[key{p.name, p.protocol}]
		known[key{p.name, p.protocol}] = struct{}{}
		return again
	})
}

func (s *spec) addVIPs(kind Kind, field string, texts []string, family Family) {
	for _, text := range texts {
		addr, err := parseAddress(text, family)
		if errors.Is(err, errOtherFamily) {
			continue
		}
		if err != nil && kind == ClusterIP && text == "" {
			s.problem("set spec.clusterIP: only an API server gives one by itself", "has no cluster IP")
			continue
		}
		if err != nil {
			s.problem("the address is left out; correct it in the Service", "%s: %v", field, err)
			continue
		}
		s.vips = append(s.vips, vip{kind, addr})
	}
}

func (s *spec) addPort(p *corev1.ServicePort) {
	field := "spec.ports " + quoted(p.Name).String()
	if p.Name == "" {
		field = "spec.ports"
	}
	protocol, err := ParseProtocol(p.Protocol)
	if err != nil {
		s.problem("the port is left out; correct it in the Service", "%s: %v", field, err)
		return
	}
	port, err := parsePort(p.Port)
	if err != nil {
		s.problem("the port is left out; correct it in the Service", "%s: %v", field, err)
		return
	}
	read := specPort{name: p.Name, protocol: protocol, port: port}
	if p.NodePort != 0 {
		if read.nodePort, err = parsePort(p.NodePort); err != nil {
			s.problem("the node port is left out; correct it in the Service", "%s: node %v", field, err)
		}
	}
	s.ports = append(s.ports, read)
}
