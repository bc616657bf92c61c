//go:build ipvs && soak

package ipvs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// eventsOf returns the messages of all events with a reason.
func (s *stage) eventsOf(reason string) (messages []string) {
	pattern := regexp.MustCompile(`"Event" service="[^"]*" reason="` + reason + `" message="(.*)"`)
	for _, found := range pattern.FindAllStringSubmatch(s.Log.String(), -1) {
		messages = append(messages, found[1])
	}
	return messages
}

// TestAnEndpointThatTheKernelRefusesHoldsUpNothing: the API server accepts a broadcast address, and IPVS does not.
func TestAnEndpointThatTheKernelRefusesHoldsUpNothing(t *testing.T) {
	s, here, there := balancedStage(t)
	const broadcast = "172.30.0.255"
	s.Write("web", site.DualStack("web", 10, webPorts...))
	s.Write("other", site.DualStack("other", 11, webPorts...))
	s.behind("web", endpoint{here, s.node1, ""}, endpoint{there, s.node2, ""})
	s.behind("other", endpoint{here, s.node1, ""})
	s.Write("refused", servicetest.Slice("web", "web-refused", podPorts, broadcast+"@"+s.node2.Name))
	// Web has two virtual servers, one for each protocol. Single has one, and its only slice has the refused endpoint.
	s.Write("single", site.DualStack("single", 12, webPorts[0]))
	single := func(pod, node *lab.Host) {
		s.Write("behind-single", servicetest.Slice("single", "single-0", podPorts[:1], site.At(lab.IPv4, pod, node), broadcast+"@"+s.node2.Name))
	}
	single(here, s.node1)
	s.start()
	s.Eventually("it is named", func() error {
		if messages := s.eventsOf("EndpointRefused"); len(messages) == 0 || !strings.Contains(messages[0], broadcast) {
			return fmt.Errorf("there are events %q", messages)
		}
		return nil
	})
	served := func() {
		t.Helper()
		for _, f := range lab.Families {
			for _, network := range []string{"tcp", "udp"} {
				for _, from := range []*lab.Host{s.client, s.node1} {
					if err := s.tell(from, network, vip(f, 10, 80), here, there); err != nil {
						t.Errorf("%s: %v", network, err)
					}
				}
			}
		}
	}
	served()
	// Another Service changes, and then those with the refused endpoint.
	for i := range 4 {
		pod, node := here, s.node1
		if i%2 == 0 {
			pod, node = there, s.node2
		}
		s.within(2, fmt.Sprintf("change %d of another Service", i), func() { s.behind("other", endpoint{pod, node, ""}) }, func() error {
			return errors.Join(s.hasWeight("tcp", vip(lab.IPv4, 11, 80), pod, 1), s.hasWeight("tcp", vip(lab.IPv6, 11, 80), pod, 1))
		})
		for _, f := range lab.Families {
			s.served(s.client, "tcp", vip(f, 11, 80), pod)
		}
		s.behind("web", endpoint{pod, node, ""})
		single(pod, node)
		s.served(s.client, "tcp", vip(lab.IPv4, 12, 80), pod)
		for _, f := range lab.Families {
			s.served(s.client, "tcp", vip(f, 10, 80), pod)
		}
	}
	s.behind("web", endpoint{here, s.node1, ""}, endpoint{there, s.node2, ""})
	s.Eventually("both are back", func() error {
		return errors.Join(s.attempt(s.client, "tcp", vip(lab.IPv4, 10, 80), here, there), s.attempt(s.client, "tcp", vip(lab.IPv6, 10, 80), here, there))
	})
	s.Verified(2)
	served()
	for _, text := range []string{"Repairing", "Could not"} {
		if n := s.Log.Count(text); n > 0 {
			t.Errorf("Fairlead says %q %d times", text, n)
		}
	}
	t.Run("it is named once for each of the two Services", func(t *testing.T) {
		said := map[string]int{}
		for _, message := range s.eventsOf("EndpointRefused") {
			said[message]++
		}
		for message, times := range said {
			if times != 2 {
				t.Errorf("%d times: %s", times, message)
			}
		}
	})
}
