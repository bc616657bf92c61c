package cases

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead/fairlead/pkg/service"
)

// cluster is the objects of any number of cases in one family, as a node sees them.
type cluster struct {
	family  service.Family
	builder *service.Builder
	known   map[int][]Object // by case
}

func newCluster(t *testing.T, flags Flags, family service.Family) *cluster {
	t.Helper()
	b := service.NewBuilder(flags.Options(family))
	b.SetNode(flags.OwnNode())
	ports, err := flags.NodePorts(family)
	if err != nil {
		t.Fatal(err)
	}
	b.SetNodePorts(ports)
	return &cluster{family: family, builder: b, known: map[int][]Object{}}
}

// take brings a case to a step: what the step does not list is deleted.
func (c *cluster) take(t *testing.T, of Case, step int) {
	t.Helper()
	objects, err := of.Objects(c.family, step)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, o := range objects {
		switch o := o.(type) {
		case *corev1.Service:
			listed["service "+o.Name] = true
			c.builder.SetService(o)
		case *discoveryv1.EndpointSlice:
			listed["slice "+o.Name] = true
			c.builder.SetSlice(o)
		}
	}
	for _, o := range c.known[of.number] {
		switch o := o.(type) {
		case *corev1.Service:
			if !listed["service "+o.Name] {
				c.builder.DeleteService(o.Namespace, o.Name)
			}
		case *discoveryv1.EndpointSlice:
			if !listed["slice "+o.Name] {
				c.builder.DeleteSlice(o.Namespace, o.Name)
			}
		}
	}
	c.known[of.number] = objects
}

// taking lists the cases of a group that have a step for a round.
func taking(group Group, family service.Family, round int) []Case {
	return slices.DeleteFunc(slices.Clone(group.Cases), func(c Case) bool {
		return round >= len(c.Steps) || !slices.Contains(c.Families(), family)
	})
}

// report makes a test of each case, after all of them have run side by side.
func report(t *testing.T, group Group, family service.Family, wrong map[string][]string) {
	for _, c := range group.Cases {
		if !slices.Contains(c.Families(), family) {
			continue
		}
		t.Run(fmt.Sprintf("%s/%s", c.Name, family), func(t *testing.T) {
			for _, w := range wrong[c.Name] {
				t.Error(w)
			}
		})
	}
}
