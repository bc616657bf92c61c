package proxier

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// mostTriggers bounds how many times of changes are kept while syncs fail.
const mostTriggers = 4096

// changes counts what came in and is not in the kernel yet.
type changes struct {
	services, endpoints int
	triggers            []time.Time // of changed EndpointSlices
}

// trigger notes when the change happened that made the control plane write this slice, unless that was before since: how long a
// slice had lain there when Fairlead started says nothing of its speed.
func (c *changes) trigger(slice *discoveryv1.EndpointSlice, since time.Time) {
	text := slice.Annotations[corev1.EndpointsLastChangeTriggerTime]
	if text == "" || len(c.triggers) >= mostTriggers {
		return
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil && at.After(since) {
		c.triggers = append(c.triggers, at)
	}
}

// add takes in more, which is forgotten there.
func (c *changes) add(more *changes) {
	c.services += more.services
	c.endpoints += more.endpoints
	c.triggers = append(c.triggers, more.triggers[:min(len(more.triggers), mostTriggers-len(c.triggers))]...)
	*more = changes{}
}

// delays are how long ago the changes were.
func (c *changes) delays() []time.Duration {
	var list []time.Duration
	for _, at := range c.triggers {
		list = append(list, max(time.Since(at), 0)) // the control plane's clock may be ahead
	}
	return list
}

func (p *Proxier) serviceChanged() {
	p.seen.services++
	p.options.Observer.ServiceChanged()
}

func (p *Proxier) endpointsChanged() {
	p.seen.endpoints++
	p.options.Observer.EndpointsChanged()
}

// observe tells of a sync that went well.
func (p *Proxier) observe(s Sync) {
	s.Table = p.present.table
	if s.Written {
		if c, counts := p.present.Backend.(RuleCounter); counts {
			s.Rules, s.RulesWritten = c.RuleCounts()
		}
		s.Delays = p.pending.delays()
	}
	s.Services, s.Endpoints = p.pending.services, p.pending.endpoints
	p.pending = changes{}
	p.options.Observer.Synced(s)
	if len(p.present.drift) > 0 && s.Written {
		p.options.Observer.Repaired(p.present.drift)
		p.present.drift = nil
	}
}
