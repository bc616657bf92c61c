package proxier

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/service"
)

// reasonUnwritten is the reason of the event about a Service with a port that could not be written.
const reasonUnwritten = "ServicePortNotWritten"

// mostMessages bounds how many different errors are reported of one Service: an error may contain a number that never repeats.
const mostMessages = 8

// unwritten is what the last sync of a side could not write, although it succeeded for all other service ports. These ports have a back-off
// of their own and delay nothing else.
type unwritten struct {
	ports service.Unwritten
	tries int       // in a row, since one of the ports was added or changed
	due   time.Time // when they are tried again, if no other sync comes first
	told  map[types.NamespacedName]map[string]struct{}
}

// note takes in the result of a sync.
func (u *unwritten) note(left service.Unwritten, most time.Duration) {
	for name := range left {
		if _, known := u.ports[name]; !known {
			u.restart()
		}
	}
	u.ports = left
	if len(left) == 0 {
		u.restart()
		return
	}
	if now := time.Now(); !now.Before(u.due) {
		u.tries++
		u.due = now.Add(backoff(u.tries, most))
	}
}

// changed restarts the back-off if one of the ports has changed.
func (u *unwritten) changed(dirty service.PortSet) {
	for name := range u.ports {
		if _, changed := dirty[name]; changed {
			u.restart()
		}
	}
}

func (u *unwritten) restart() { u.tries, u.due = 0, time.Time{} }

// isDue reports whether ports are to be tried again now.
func (u *unwritten) isDue() bool { return len(u.ports) > 0 && !time.Now().Before(u.due) }

// complete reports whether no port of a table could be written.
func complete(left service.Unwritten, table *service.Table) bool {
	for _, p := range table.Ports {
		if _, failed := left[p.Name]; !failed {
			return false
		}
	}
	return len(table.Ports) > 0
}

// tell calls do for each error that it has not been called for yet, since all ports of that Service were last written or gone.
func (u *unwritten) tell(do func(name service.PortName, err error)) {
	still := map[types.NamespacedName]map[string]struct{}{}
	for _, name := range slices.SortedFunc(maps.Keys(u.ports), service.PortName.Compare) {
		messages := u.told[name.Service()]
		if messages == nil {
			messages = still[name.Service()]
		}
		if messages == nil {
			messages = map[string]struct{}{}
		}
		still[name.Service()] = messages
		err := u.ports[name]
		if _, told := messages[err.Error()]; told || len(messages) >= mostMessages {
			continue
		}
		messages[err.Error()] = struct{}{}
		do(name, err)
	}
	u.told = still
}

// held returns the Table that the kernel holds as far as is known, after it held was and is was written: ports that could not be written
// are as they were.
func (u *unwritten) held(was, is *service.Table) *service.Table {
	if len(u.ports) == 0 {
		return is
	}
	table := *is
	table.Ports = slices.DeleteFunc(slices.Clone(is.Ports), func(p *service.Port) bool { return u.ports[p.Name] != nil })
	for name := range u.ports {
		if p := was.Port(name); p != nil {
			table.Ports = append(table.Ports, p)
		}
	}
	slices.SortFunc(table.Ports, func(x, y *service.Port) int { return x.Name.Compare(y.Name) })
	table.HealthChecks = healthChecks(is.HealthChecks, table.Ports)
	return &table
}

// healthChecks returns those of a Table. The load balancers of a Service that has no port in the kernel are told to go elsewhere.
func healthChecks(checks []service.HealthCheck, held []*service.Port) []service.HealthCheck {
	served := map[types.NamespacedName]struct{}{}
	for _, p := range held {
		served[p.Name.Service()] = struct{}{}
	}
	checks = slices.Clone(checks)
	for i, c := range checks {
		if _, ok := served[c.Service]; !ok {
			checks[i].LocalEndpoints = 0
		}
	}
	return checks
}

// partial splits the error of a Backend's Sync: the ports that a sync which succeeded otherwise could not write, or the error of one that
// failed.
func partial(ctx context.Context, err error) (service.Unwritten, error) {
	var left service.Unwritten
	if err == nil || ctx.Err() == nil && errors.As(err, &left) {
		return left, nil
	}
	return nil, err
}

// report logs which service ports could not be written and why, and sends an event to the Service if the side is in force.
func (p *Proxier) report(ctx context.Context, s *side) {
	s.unwritten.tell(func(name service.PortName, err error) {
		klog.FromContext(ctx).Error(err, "Could not write a service port; all others are written, and it will be tried again", "port", name.String(), "mode", s.Name)
		if s == p.present && p.options.Events != nil && s.table.Port(name) != nil {
			p.options.Events(name.Service(), reasonUnwritten, fmt.Sprintf("%s cannot be served as it should be in %s mode, and will be tried again: %v", name, s.Name, err))
		}
	})
}
