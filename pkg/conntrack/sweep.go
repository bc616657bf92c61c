package conntrack

import (
	"time"

	"github.com/fairlead/fairlead/pkg/service"
)

// Sweep is one look at the kernel's table.
type Sweep struct {
	Took    time.Duration
	Deleted map[Deleted]int // how many flows
}

// Deleted is what deleted flows have in common.
type Deleted struct {
	Protocol service.Protocol
	Reason   Reason
}

// Reason is why a flow is deleted.
type Reason string

// The reasons.
const (
	// EndpointGone: the flow goes to an endpoint that the Service does not serve with any more.
	EndpointGone Reason = "endpoint_gone"
	// NotTranslated: the flow began before the rules stood, so it goes to no endpoint.
	NotTranslated Reason = "not_translated"
)

// Reasons lists all reasons.
var Reasons = []Reason{EndpointGone, NotTranslated}

// reason returns why a stale flow is deleted.
func (f flow) reason() Reason {
	if f.translated() {
		return EndpointGone
	}
	return NotTranslated
}
