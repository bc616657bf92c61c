package proxier

import "time"

// phase tells how long a part of the work has taken that began at start.
func (p *Proxier) phase(phase Phase, start time.Time) {
	p.options.Observer.Took(phase, time.Since(start))
}

// counted tells what traffic the kernel has counted.
func (p *Proxier) counted() {
	c, counts := p.present.Backend.(TrafficCounter)
	if !counts {
		return
	}
	if t := c.TakeTraffic(); t != nil {
		p.options.Observer.Traffic(*t)
	}
}
