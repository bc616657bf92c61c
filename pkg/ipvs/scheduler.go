package ipvs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/fairlead/fairlead/pkg/service"
)

// mostForMH is how many real servers the scheduler mh can have: fewer than its table has entries, 4,093 unless the kernel is built with
// another CONFIG_IP_VS_MH_TAB_INDEX. Beyond that it goes on with an older table, in which new endpoints are missing and removed ones are
// not, and says so only to who changes a virtual server to mh (ip_vs_mh_reassign in ip_vs_mh.c).
const mostForMH = 4093

// lastScheduler is for virtual servers to which the kernel does not give the node's scheduler.
const lastScheduler = "rr"

// declined is a scheduler that the kernel did not give a virtual server with so many endpoints. Each question costs: in a virtual server that
// is there, the kernel takes the old scheduler away before it looks at the new one.
type declined struct {
	scheduler string
	endpoints int
}

// ensure makes a virtual server, or makes it as it should be.
func (b *Backend) ensure(ctx context.Context, k key, w *wish, endpoints int) error {
	h, p := b.held.servers[k], b.scheduled(k, w.port, endpoints)
	want := b.server(k, p)
	var err error
	switch {
	case h == nil:
		h, err = b.add(p, want, endpoints)
	case h.virtualServer != want:
		want, err = b.choosing(p, want, endpoints, b.kernel.servers.Update)
		switch {
		case errors.Is(err, errNotFound):
			h, err = b.add(p, want, endpoints)
		case err != nil:
			h.scheduler = "" // the kernel has taken the old one away
		default:
			h.virtualServer = want
		}
	}
	if err != nil {
		return err
	}
	b.held.servers[k] = h
	b.tellOfScheduler(ctx, w, h.scheduler)
	return nil
}

// tellOfScheduler tells the owner of a Service if it does not have the scheduler that it asks for. That the node's own is missing is no
// owner's concern, and is logged.
func (b *Backend) tellOfScheduler(ctx context.Context, w *wish, scheduler string) {
	asked, node := w.port.Scheduling.Scheduler, b.options.Scheduler
	if b.missing(node) {
		b.once(ctx, "The kernel does not have the node's IPVS scheduler; load its module or choose another scheduler by --ipvs-scheduler",
			"scheduler", node, "module", "ip_vs_"+node, "instead", lastScheduler)
	}
	if asked == "" {
		asked = node
	}
	switch {
	case asked == node && b.missing(node):
	case b.missing(asked):
		b.tell(ctx, w.port.Name.Service(), "SchedulerMissing", fmt.Sprintf("the node's kernel has no IPVS scheduler %s, and %s is used instead; load the kernel module ip_vs_%s on the node", asked, scheduler, asked))
	case asked != scheduler && asked == "mh":
		b.tell(ctx, w.port.Name.Service(), "SchedulerRefused", fmt.Sprintf("the IPVS scheduler mh is not for more than %d endpoints, and %s is used instead; choose another one by the annotation %s", mostForMH, scheduler, service.AnnotationScheduler))
	case asked != scheduler:
		b.tell(ctx, w.port.Name.Service(), "SchedulerRefused", fmt.Sprintf("the node's kernel refuses the IPVS scheduler %s, and %s is used instead; choose another one by the annotation %s", asked, scheduler, service.AnnotationScheduler))
	}
}

// add makes a virtual server. One that is there against all knowledge is taken over.
func (b *Backend) add(p *service.Port, want virtualServer, endpoints int) (*heldServer, error) {
	want, err := b.choosing(p, want, endpoints, b.kernel.servers.Add)
	h := &heldServer{virtualServer: want, real: map[netip.AddrPort]uint16{}}
	if err == nil {
		b.traffic.forget(want.key)
	}
	if errors.Is(err, errExists) {
		if want, err = b.choosing(p, want, endpoints, b.kernel.servers.Update); err == nil {
			h.virtualServer = want
			var list []realServer
			list, err = b.kernel.servers.ListReal(want.key)
			h.real = weights(list)
		}
	}
	return h, err
}

// choosing writes a virtual server. If the kernel does not have the scheduler, or refuses it, it has the node's own or the last one instead.
func (b *Backend) choosing(p *service.Port, s virtualServer, endpoints int, write func(virtualServer) error) (virtualServer, error) {
	s, err := b.among(p, s, endpoints, write)
	if err == nil || !refusal(err) {
		return s, err
	}
	b.declined[s.key] = declined{s.scheduler, endpoints}
	instead := b.server(s.key, b.scheduled(s.key, p, endpoints))
	if instead.scheduler == s.scheduler {
		delete(b.declined, s.key) // it is not for the scheduler that the kernel refuses
		return s, err
	}
	instead, otherErr := b.among(p, instead, endpoints, write)
	if otherErr != nil {
		delete(b.declined, s.key)
		return s, fmt.Errorf("%w (and with scheduler %s: %w)", err, instead.scheduler, otherErr)
	}
	return instead, nil
}

// among writes a virtual server with the first scheduler that the kernel has. If it has not even the last one, that is no refusal: it concerns
// every Service that does not choose another.
func (b *Backend) among(p *service.Port, s virtualServer, endpoints int, write func(virtualServer) error) (virtualServer, error) {
	err := write(s)
	for errors.Is(err, errNoScheduler) {
		b.absent[s.scheduler] = struct{}{}
		instead := b.server(s.key, b.scheduled(s.key, p, endpoints))
		if b.missing(instead.scheduler) {
			return s, fmt.Errorf("%w: %w: load the kernel module ip_vs_%s, or choose another one by --ipvs-scheduler", errNoneAtAll, err, b.options.Scheduler)
		}
		s, err = instead, write(instead)
	}
	return s, err
}

// scheduled is a port with the scheduler that its virtual server at a key gets.
func (b *Backend) scheduled(k key, p *service.Port, endpoints int) *service.Port {
	d, ok := b.declined[k]
	if ok && endpoints < d.endpoints {
		delete(b.declined, k) // the kernel may take it by now
		ok = false
	}
	all := endpoints
	if h := b.held.servers[k]; h != nil {
		all = max(all, len(h.real)) // with those that drain
	}
	for _, scheduler := range []string{b.options.Scheduler, lastScheduler} {
		asked := b.scheduler(p)
		if (!ok || asked != d.scheduler) && (asked != "mh" || all <= mostForMH) {
			break
		}
		other := *p
		other.Scheduling = service.Scheduling{Scheduler: scheduler}
		if scheduler == b.options.Scheduler {
			other.Scheduling.Scheduler = ""
		}
		p = &other
	}
	return p
}

// missing reports whether the kernel has been found not to have a scheduler.
func (b *Backend) missing(scheduler string) bool {
	_, is := b.absent[scheduler]
	return is
}
