package cases

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead/fairlead/pkg/service"
)

// otherFamily behind a name means its address of the family that is not being tried.
const otherFamily = "~"

// Namespace is where the objects of a case are, in each family another one.
func (c Case) Namespace(family service.Family) string {
	return fmt.Sprintf("case%d-%s", c.number, strings.ToLower(family.String()))
}

func (c Case) atlas(family service.Family) atlas {
	return atlas{number: c.number, family: family, tried: family}
}

// Objects are the objects of a step, with real addresses.
func (c Case) Objects(family service.Family, step int) ([]Object, error) {
	a := c.atlas(family)
	var resolved []Object
	for _, o := range c.Steps[step].Objects {
		o := o.DeepCopyObject().(Object)
		o.SetNamespace(c.Namespace(family))
		var err error
		switch o := o.(type) {
		case *corev1.Service:
			err = a.resolveService(o)
		case *discoveryv1.EndpointSlice:
			err = a.resolveSlice(o)
		}
		if err != nil {
			return nil, fmt.Errorf("case %q, step %d, %s: %w", c.Name, step+1, o.GetName(), err)
		}
		resolved = append(resolved, o)
	}
	return resolved, nil
}

func (a atlas) resolveService(s *corev1.Service) error {
	if s.Spec.ClusterIP != corev1.ClusterIPNone {
		if err := a.replace(s.Spec.ClusterIPs); err != nil {
			return err
		}
		s.Spec.ClusterIP = s.Spec.ClusterIPs[0]
	}
	if err := a.replace(s.Spec.ExternalIPs); err != nil {
		return err
	}
	for i := range s.Status.LoadBalancer.Ingress {
		in := &s.Status.LoadBalancer.Ingress[i]
		if in.IP == "" {
			continue
		}
		addr, err := a.address(in.IP)
		if err != nil {
			return err
		}
		in.IP = addr.String()
	}
	for i, text := range s.Spec.LoadBalancerSourceRanges {
		name := strings.TrimSpace(text)
		if r, known := a.rangeOf(name); known {
			s.Spec.LoadBalancerSourceRanges[i] = strings.Replace(text, name, r.String(), 1)
		}
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		var err error
		if p.Port, err = a.port(p.Port); err != nil {
			return err
		}
		if p.NodePort, err = a.port(p.NodePort); err != nil {
			return err
		}
	}
	return nil
}

func (a atlas) resolveSlice(s *discoveryv1.EndpointSlice) error {
	if s.AddressType == discoveryv1.AddressTypeFQDN {
		return nil
	}
	s.AddressType = discoveryv1.AddressType(a.family.String())
	for i := range s.Endpoints {
		addresses := s.Endpoints[i].Addresses
		if strings.HasSuffix(addresses[0], otherFamily) {
			s.AddressType = discoveryv1.AddressType(a.other().family.String())
		}
		if err := a.replace(addresses); err != nil {
			return err
		}
	}
	return nil
}

// replace puts addresses in the place of names.
func (a atlas) replace(names []string) error {
	for i, name := range names {
		of := a
		if other, is := strings.CutSuffix(name, otherFamily); is {
			name, of = other, a.other()
		}
		addr, err := of.address(name)
		if err != nil {
			if addr, err = netip.ParseAddr(name); err != nil {
				return fmt.Errorf("%q is neither an address nor the name of one", name)
			}
		}
		names[i] = addr.String()
	}
	return nil
}

// other has the addresses of the other family, in the same trial.
func (a atlas) other() atlas {
	if a.family == service.IPv4 {
		a.family = service.IPv6
	} else {
		a.family = service.IPv4
	}
	return a
}
