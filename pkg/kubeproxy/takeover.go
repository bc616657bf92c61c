package kubeproxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/service"
)

// The reasons of what TakeOver says to the node's operator.
const (
	ReasonTakenOver = "TakenOver"
	// ReasonStarted is that of a kube-proxy which begins to write beside Fairlead.
	ReasonStarted = "KubeProxyStarted"
)

// Options are the settings of a TakeOver.
type Options struct {
	Family service.Family
	// Excluded are ranges of addresses in which virtual servers are never deleted.
	Excluded []netip.Prefix
	// InIPVSMode reports whether Fairlead forwards by IPVS now; nil: it never does.
	InIPVSMode func() bool
	// Event tells the node's operator what goes on; nil: it is logged only.
	Event func(reason, message string)
}

// TakeOver removes what a kube-proxy has left in one family, when Fairlead serves and kube-proxy runs no more. It is a proxier.Follower:
// the first successful sync starts it, and it does all its work in the background, for as long as Fairlead runs: a kube-proxy may be started
// at any time (kubeadm upgrade brings one back), puts its jumps before Fairlead's, and leaves them there when it ends.
//
// A kube-proxy runs as long as another process listens on one of its ports. Where it listens on others, or cannot because Fairlead does, it
// shows only by what it writes: then it is left alone for longer and longer before that is removed.
type TakeOver struct {
	options Options
	node    node
	start   sync.Once
	table   atomic.Pointer[service.Table] // as last synced
	said    string

	// known are the traces of the last time that nothing was found, or nothing but what other programs' rules need; nil: look properly.
	known *traces
	// virtual is where the virtual servers of indexed are.
	virtual Served
	indexed *service.Table
}

// node is what TakeOver sees and does.
type node struct {
	listening func() (uint16, error)
	standing  func(context.Context) (bool, error)
	traces    func() (traces, error) // costs next to nothing
	retire    func(context.Context) (left int, err error)
}

const (
	// look is how often to look whether kube-proxy still runs, or has connections.
	look = 2 * time.Second
	// quiet is how long nobody may have listened on its ports. It is short, as stale rules of kube-proxy's nftables mode may come before
	// Fairlead's; one that is being restarted writes its own anew, and meanwhile Fairlead serves.
	quiet = 2 * look
	// glance is how often to look whether a kube-proxy has begun to write.
	glance = 10 * time.Second
	// comeback is how long to leave one alone that has: it may take as long to write again what was removed, as it looks for its canary
	// chain each sync period, 30 seconds unless set otherwise.
	comeback = 70 * time.Second
	// retry is how long to wait after an error.
	retry = 30 * time.Second
	// longest is how long to leave a kube-proxy alone at most: one that has ended meanwhile has stale rules before Fairlead's until then.
	longest = 10 * time.Minute
)

// NewTakeOver touches nothing before the first sync.
func NewTakeOver(o Options) *TakeOver {
	t := &TakeOver{options: o}
	t.node = node{
		listening: Listening,
		standing:  func(ctx context.Context) (bool, error) { return Standing(ctx, o.Family, o.Excluded) },
		traces:    func() (traces, error) { return findTraces(o.Family) },
		retire:    func(ctx context.Context) (int, error) { return Retire(ctx, o.Family, o.Excluded, t.served) },
	}
	return t
}

// served reports whether Fairlead has a virtual server there by now.
func (t *TakeOver) served(protocol service.Protocol, at netip.AddrPort) bool {
	if t.options.InIPVSMode == nil || !t.options.InIPVSMode() {
		return false
	}
	if table := t.table.Load(); t.virtual == nil || t.indexed != table {
		t.virtual, t.indexed = ServedByIPVS(table), table
	}
	return t.virtual(protocol, at)
}

// Synced implements proxier.Follower.
func (t *TakeOver) Synced(ctx context.Context, _, synced *service.Table, _ service.PortSet) error {
	t.table.Store(synced)
	t.start.Do(func() { go t.run(ctx) })
	return nil
}

// run takes over from what there is at first, and then from every kube-proxy that comes, until ctx ends.
func (t *TakeOver) run(ctx context.Context) {
	if t.found(ctx) && t.await(ctx) {
		t.retire(ctx)
	}
	pause := comeback
	for absent := time.Now(); t.arrives(ctx); absent = time.Now() {
		if time.Since(absent) > longest {
			pause = comeback
		}
		found, _ := t.node.traces() // only to name it
		t.tell(ctx, ReasonStarted, fmt.Sprintf("kube-proxy has been started beside Fairlead, or has brought back what Fairlead removed: it has written %s for %s. Stop it. What it has written stays while it runs; Fairlead looks again in %v whether it does", found, t.options.Family, pause))
		if t.leaveAlone(ctx, pause) {
			pause = comeback
		} else {
			pause = min(2*pause, longest)
		}
		if !t.await(ctx) {
			return
		}
		t.retire(ctx)
	}
}

// arrives waits until a kube-proxy has written something. It reports false where ctx ends first.
func (t *TakeOver) arrives(ctx context.Context) bool {
	for !t.found(ctx) {
		if !sleep(ctx, glance) {
			return false
		}
	}
	return ctx.Err() == nil
}

// found reports whether there is something of a kube-proxy's that is to be removed. It reads rules only where the traces have changed.
func (t *TakeOver) found(ctx context.Context) bool {
	now, err := t.node.traces()
	if err != nil {
		t.failed(ctx, "Could not look whether a kube-proxy has been started; it will be tried again", err)
	}
	if t.known != nil && (err != nil || now == *t.known) {
		return false
	}
	if t.stands(ctx) {
		return true
	}
	t.known = &now // as it was before the rules were read, or what came in between would never be found
	return false
}

// leaveAlone waits as long as given, for a kube-proxy that shows only by what it writes. It reports whether the ports have told meanwhile
// that kube-proxy runs and has stopped, and does not wait any longer then.
func (t *TakeOver) leaveAlone(ctx context.Context, pause time.Duration) (told bool) {
	listened := false
	for waited := time.Duration(0); waited < pause; waited += look {
		switch {
		case t.runs(ctx):
			listened = true
		case listened:
			return true
		}
		if !sleep(ctx, look) {
			return false
		}
	}
	return listened
}

// stands reports whether a kube-proxy has left anything, and keeps asking where that cannot be told.
func (t *TakeOver) stands(ctx context.Context) bool {
	for {
		stands, err := t.node.standing(ctx)
		if err == nil {
			return stands
		}
		t.failed(ctx, "Could not look for what a kube-proxy has left; it will be tried again", err)
		if !sleep(ctx, retry) {
			return false
		}
	}
}

// await waits until kube-proxy runs no more. It reports false where ctx ends first.
func (t *TakeOver) await(ctx context.Context) bool {
	for silence := time.Duration(0); silence < quiet; silence += look {
		if t.runs(ctx) {
			silence = -look
		}
		if !sleep(ctx, look) {
			return false
		}
	}
	return true
}

// runs reports whether kube-proxy does, as far as its ports tell.
func (t *TakeOver) runs(ctx context.Context) bool {
	port, err := t.node.listening()
	if err != nil {
		t.failed(ctx, "Could not look whether kube-proxy runs; it will be tried again", err)
		return true
	}
	if port != 0 {
		t.say(ctx, fmt.Sprintf("kube-proxy still runs beside Fairlead, as port %d is another process's: stop it. What it has written stays until then", port))
	}
	return port != 0
}

// retire removes what there is, and waits for connections that need some of it. It returns when all is gone, or all but what other
// programs' rules need, when a kube-proxy has come back, and when ctx ends.
func (t *TakeOver) retire(ctx context.Context) {
	t.known = nil
	for pause := look; ; pause = min(2*pause, retry) { // to ask for all connections costs something
		left, err := t.node.retire(ctx)
		switch {
		case foreign(err):
			t.failed(ctx, "Took over from kube-proxy, but for what other programs' rules need; take those out and restart Fairlead", err)
			t.keep()
			return
		case err != nil:
			t.failed(ctx, "Could not remove all that kube-proxy has left; it will be tried again", err)
			pause = retry
		case left == 0:
			t.say(ctx, fmt.Sprintf("Took over from kube-proxy: what it had left for %s is removed", t.options.Family))
			return
		default:
			t.say(ctx, fmt.Sprintf("Took over from kube-proxy for %s: its virtual servers stay until their last connection has ended", t.options.Family))
		}
		before, lookErr := t.node.traces()
		if !sleep(ctx, pause) {
			return
		}
		// It may have been started again meanwhile.
		if t.runs(ctx) {
			if !t.await(ctx) {
				return
			}
		} else if err == nil && lookErr == nil && t.returned(before) {
			return
		}
	}
}

// keep takes what is there for what other programs' rules need.
func (t *TakeOver) keep() {
	if left, err := t.node.traces(); err == nil {
		t.known = &left
	}
}

// returned reports whether a kube-proxy has made anew what goes at once, since other traces.
func (t *TakeOver) returned(before traces) bool {
	now, err := t.node.traces()
	return err == nil && (now.table && !before.table || now.device != 0 && now.device != before.device)
}

// foreign reports whether all that failed is for other programs' rules. What else failed may go well the next time.
func foreign(err error) bool {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return !slices.ContainsFunc(joined.Unwrap(), func(err error) bool { return !foreign(err) })
	}
	return errors.Is(err, ErrForeign)
}

// say tells how far the take-over has come, once.
func (t *TakeOver) say(ctx context.Context, message string) { t.tell(ctx, ReasonTakenOver, message) }

func (t *TakeOver) tell(ctx context.Context, reason, message string) {
	if t.said == message {
		return
	}
	t.said = message
	klog.FromContext(ctx).Info(message)
	if t.options.Event != nil {
		t.options.Event(reason, message)
	}
}

// failed logs an error once.
func (t *TakeOver) failed(ctx context.Context, message string, err error) {
	if err == nil || ctx.Err() != nil || t.said == err.Error() {
		return
	}
	t.said = err.Error()
	klog.FromContext(ctx).Error(err, message)
}

// sleep reports false where ctx ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
