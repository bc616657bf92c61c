package ipvs

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/service"
)

// notRefused are errors of a socket, or of the privileges of the process: they say nothing about what was to be written, and concern
// everything.
var notRefused = []error{
	unix.EPERM, unix.ENOBUFS, unix.EBADF, unix.EAGAIN, unix.EINTR, unix.EBUSY, unix.EMFILE, unix.ENFILE, unix.EIO, unix.ETIMEDOUT,
	errNotFound, errExists, ErrNoIPVS, errNoneAtAll,
}

// refusal reports whether an error is the kernel's answer to one write: it has changed nothing, and the next write may go well. After any
// other error it is not known what the kernel holds. So too where something is missing that should be there: another program has
// deleted it.
func refusal(err error) bool {
	for _, other := range notRefused {
		if errors.Is(err, other) {
			return false
		}
	}
	for _, answer := range []error{errFull, errRefused, errNoScheduler, errNoType} {
		if errors.Is(err, answer) {
			return true
		}
	}
	_, errno := errors.AsType[syscall.Errno](err)
	_, private := errors.AsType[nl.IPSetError](err)
	return errno || private
}

// failure is a key at which the kernel has refused something. Every Sync tries it again.
type failure struct {
	err error
	// port is the service port that the key is for; nil: no Service has the frontend any more.
	port *service.PortName
	// besides: all is written besides the entry for refusals.
	besides bool
	// admitted are the clients that the kernel admits at the key.
	admitted []entry
}

// writer writes many things at once and, where the kernel refuses that, finds out which of them it refuses.
type writer[T any] struct {
	write func(...T) error
	// done is told of each thing: it is written, or why not.
	done func(T, error)
	// stop is why nothing more is tried: an error that concerns everything, or a set that is full.
	stop error
}

func (w *writer[T]) all(list []T) {
	err := w.stop
	if err == nil && len(list) > 0 {
		err = w.write(list...)
	}
	if err != nil && w.stop == nil && refusal(err) && len(list) > 1 {
		w.all(list[:len(list)/2])
		w.all(list[len(list)/2:])
		return
	}
	if err != nil && (!refusal(err) || errors.Is(err, errFull)) {
		w.stop = err
	}
	for _, item := range list {
		w.done(item, err)
	}
}

// failed notes an error at a key, at which nothing more is written: the others go on.
func (c *change) failed(k key, err error) {
	err = fmt.Errorf("%s: %w", k, err)
	if !refusal(err) {
		c.broken = append(c.broken, err)
	}
	if !c.keeps(k) {
		c.failures[k] = err
	}
}

// keeps reports whether a key is left as it is, because something failed there.
func (c *change) keeps(k key) bool {
	_, ok := c.failures[k]
	return ok
}

// present are the entries that a set may hold for a key. What it was to hold before does not say that but of admitted clients: a draining
// virtual server may have ended while its entries were written.
func (b *Backend) present(c *change, k key, id setID) []entry {
	if id != setAdmitted {
		return []entry{{key: k}}
	}
	if f := b.failing[k]; f != nil {
		return f.admitted
	}
	return c.was[k].entries(k, id)
}

// failureAt puts together what is known of a key at which something has failed.
func (b *Backend) failureAt(c *change, k key) *failure {
	f := &failure{err: c.failures[k]}
	if w := c.is[k]; w != nil && !w.deleted {
		f.port = &w.port.Name
	}
	for e := range set(slices.Concat(b.present(c, k, setAdmitted), c.is[k].entries(k, setAdmitted), c.unknown[k])) {
		if _, held := b.held.contents[setAdmitted][e]; held {
			f.admitted = append(f.admitted, e)
		}
	}
	return f
}

// findUnknown looks for the clients that are admitted at keys that failed, where what was there before is not known.
func (b *Backend) findUnknown(c *change) {
	if !c.all || len(c.failures) == 0 {
		return
	}
	c.unknown = map[key][]entry{}
	for e := range b.held.contents[setAdmitted] {
		if c.keeps(e.key) {
			c.unknown[e.key] = append(c.unknown[e.key], e)
		}
	}
}

// needs are the addresses for which a key needs routes. One at which something failed needs those that it has.
func (b *Backend) needs(k key) []netip.Addr {
	if f := b.failing[k]; f != nil && !f.besides {
		return []netip.Addr{k.address.Addr(), alias(k).address.Addr()}
	}
	return b.wishes[k].addresses(k)
}

// settleAt notes what a key has come to: what was wanted, or a failure.
func (b *Backend) settleAt(k key, w *wish, f *failure) {
	for _, addr := range b.needs(k) {
		if b.users[addr]--; b.users[addr] == 0 {
			delete(b.users, addr)
		}
	}
	if f != nil {
		b.failing[k] = f
	} else {
		delete(b.failing, k)
	}
	if w != nil {
		b.wishes[k] = w
	} else {
		delete(b.wishes, k)
	}
	for _, addr := range b.needs(k) {
		b.users[addr]++
	}
}

// unwritten returns the service ports that are not in the kernel as the Table says, and why.
func (b *Backend) unwritten(table *service.Table) service.Unwritten {
	u := service.Unwritten{}
	note := func(name service.PortName, err error) {
		if u[name] == nil {
			u[name] = err
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(b.failing), compareKeys) {
		if f := b.failing[k]; f.port != nil {
			note(*f.port, f.err)
		}
	}
	if len(b.unpaired)+len(b.unopened) > 0 {
		for _, p := range b.within(table.Ports) {
			if err := b.besideAll(p); err != nil {
				note(p.Name, err)
			}
		}
	}
	return u
}

// besideAll is why something is not written that a service port needs beside its keys.
func (b *Backend) besideAll(p *service.Port) error {
	if err := b.unopened[p.Name.Service()]; err != nil {
		return err
	}
	for _, list := range [][]service.Endpoint{p.Endpoints, p.Local} {
		for _, e := range list {
			if err := b.unpaired[e.Address.Addr()]; err != nil && e.MayBeHere() {
				return err
			}
		}
	}
	return nil
}
