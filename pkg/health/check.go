package health

import (
	"context"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
)

// check is the health check of one Service on one port. Servers.mu guards it, except for its answer.
type check struct {
	answer
	port      uint16
	listeners map[netip.Addr]*listener
	failing   bool               // and the Service's owner has been told
	stopRetry context.CancelFunc // nil while nobody is trying again
}

func newCheck(wanted service.HealthCheck, healthy func() bool) *check {
	return &check{
		answer:    answer{service: wanted.Service, healthy: healthy},
		port:      wanted.Port,
		listeners: map[netip.Addr]*listener{},
	}
}

// leave stops listening on all addresses but those given.
func (c *check) leave(except []netip.Addr) {
	for address, l := range c.listeners {
		if !slices.Contains(except, address) {
			delete(c.listeners, address)
			l.close()
		}
	}
}

// end stops listening, and trying to.
func (c *check) end() {
	c.leave(nil)
	c.rest()
}

// rest stops trying again.
func (c *check) rest() {
	if c.stopRetry != nil {
		c.stopRetry()
		c.stopRetry = nil
	}
}

// recovered says that the check listens wherever it should.
func (c *check) recovered() {
	c.failing = false
	c.rest()
}

// failed says that it does not. What comes back is news unless the check has been failing before.
func (c *check) failed(err error) *failure {
	f := &failure{service: c.service, port: c.port, cause: err, news: !c.failing}
	c.failing = true
	return f
}
