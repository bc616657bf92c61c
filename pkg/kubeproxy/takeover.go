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

// ReasonTakenOver is the reason of what TakeOver says to the node's operator.
const ReasonTakenOver = "TakenOver"

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
// the first successful sync starts it, and it does all its work in the background.
//
// A kube-proxy runs as long as another process listens on one of its ports. Where it listens on others, it shows by bringing back what
// was removed: then it is left alone for longer and longer.
type TakeOver struct {
	options Options
	node    node
	start   sync.Once
	table   atomic.Pointer[service.Table] // as last synced
	said    string
}

// node is what TakeOver sees and does.
type node struct {
	listening func() (uint16, error)
	standing  func(context.Context) (bool, error)
	retire    func(context.Context) (left int, err error)
}

const (
	// look is how often to look whether kube-proxy still runs, or has connections.
	look = 2 * time.Second
	// quiet is how long nobody may have listened on its ports. It is short, as stale rules of kube-proxy's nftables mode may come before
	// Fairlead's; one that is being restarted writes its own anew, and meanwhile Fairlead serves.
	quiet = 2 * look
	// comeback is how long a kube-proxy takes at most to bring back what was removed: it looks for its canary chain each sync period,
	// 30 seconds unless set otherwise.
	comeback = 70 * time.Second
	// retry is how long to wait after an error.
	retry = 30 * time.Second
	// longest is how long to leave a kube-proxy alone at most before trying again.
	longest = time.Hour
)

// NewTakeOver touches nothing before the first sync.
func NewTakeOver(o Options) *TakeOver {
	t := &TakeOver{options: o}
	t.node = node{
		listening: Listening,
		standing:  func(ctx context.Context) (bool, error) { return Standing(ctx, o.Family, o.Excluded) },
		retire:    func(ctx context.Context) (int, error) { return Retire(ctx, o.Family, o.Excluded, t.served()) },
	}
	return t
}

// served returns where Fairlead has virtual servers now.
func (t *TakeOver) served() Served {
	if t.options.InIPVSMode == nil || !t.options.InIPVSMode() {
		return nil
	}
	return ServedByIPVS(t.table.Load())
}

// Synced implements proxier.Follower.
func (t *TakeOver) Synced(ctx context.Context, _, synced *service.Table, _ service.PortSet) error {
	t.table.Store(synced)
	t.start.Do(func() { go t.run(ctx) })
	return nil
}

// run takes over, again where kube-proxy has come back, until nothing is left of it for good, or ctx ends.
func (t *TakeOver) run(ctx context.Context) {
	for pause := comeback; t.stands(ctx) && t.await(ctx) && t.retire(ctx) && sleep(ctx, comeback); pause = min(2*pause, longest) {
		if !t.stands(ctx) {
			return
		}
		t.say(ctx, fmt.Sprintf("kube-proxy has brought back what Fairlead removed, so it still runs: stop it. Fairlead's rules come first meanwhile; trying again in %v", pause))
		if !sleep(ctx, pause) {
			return
		}
	}
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
		t.say(ctx, fmt.Sprintf("kube-proxy still runs beside Fairlead, as port %d is another process's: stop it. What it has written stays until then; Fairlead's comes first", port))
	}
	return port != 0
}

// retire removes what there is, and waits for connections that need some of it. It reports whether all is gone: not where ctx ends, or
// other programs' rules need some of it for good.
func (t *TakeOver) retire(ctx context.Context) bool {
	pause := look
	for {
		left, err := t.node.retire(ctx)
		switch {
		case foreign(err):
			t.failed(ctx, "Took over from kube-proxy, but for what other programs' rules need; take those out and restart Fairlead", err)
			return false
		case err != nil:
			t.failed(ctx, "Could not remove all that kube-proxy has left; it will be tried again", err)
			pause = retry
		case left == 0:
			t.say(ctx, fmt.Sprintf("Took over from kube-proxy: what it had left for %s is removed", t.options.Family))
			return true
		default:
			t.say(ctx, fmt.Sprintf("Took over from kube-proxy for %s: its virtual servers stay until their last connection has ended", t.options.Family))
		}
		// It may have been started again meanwhile.
		if !sleep(ctx, pause) || t.runs(ctx) && !t.await(ctx) {
			return false
		}
		pause = min(2*pause, retry) // to ask for all connections costs something
	}
}

// foreign reports whether all that failed is for other programs' rules. What else failed may go well the next time.
func foreign(err error) bool {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return !slices.ContainsFunc(joined.Unwrap(), func(err error) bool { return !foreign(err) })
	}
	return errors.Is(err, ErrForeign)
}

// say says something once.
func (t *TakeOver) say(ctx context.Context, message string) {
	if t.said == message {
		return
	}
	t.said = message
	klog.FromContext(ctx).Info(message)
	if t.options.Event != nil {
		t.options.Event(ReasonTakenOver, message)
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
