package node

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"
)

// fakeKernel is a kernel in memory. What changes after the start of the watcher is changed in edit.
type fakeKernel struct {
	mu            sync.Mutex
	have          []netip.Addr
	refuse        error // what subscribing ends in
	unlisted      error // what listing ends in
	changed       chan struct{}
	failed        chan error
	subscriptions int // tried
	open          int
	onList        func() // runs after a listing
}

func (k *fakeKernel) edit(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
}

func (k *fakeKernel) subscribe() (*subscription, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.subscriptions++
	if k.refuse != nil {
		return nil, k.refuse
	}
	k.open++
	k.changed, k.failed = make(chan struct{}, 1), make(chan error, 1)
	return &subscription{changed: k.changed, failed: k.failed, close: func() { k.edit(func() { k.open-- }) }}, nil
}

func (k *fakeKernel) addresses() ([]netip.Addr, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	listed := slices.Clone(k.have)
	if k.onList != nil {
		k.onList()
	}
	return listed, k.unlisted
}

func (k *fakeKernel) announce() { k.edit(k.signal) }

func (k *fakeKernel) signal() {
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// breakSocket makes the socket fail that is open, if one is.
func (k *fakeKernel) breakSocket() {
	k.edit(func() {
		select {
		case k.failed <- errors.New("the socket is gone"):
		default:
		}
	})
}

// subscribed returns how many attempts there were to subscribe, and how many subscriptions are open.
func (k *fakeKernel) subscribed() (attempts, open int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.subscriptions, k.open
}

func (k *fakeKernel) set(addrs ...string) {
	k.edit(func() {
		k.have = addresses(addrs...)
		k.signal()
	})
}

// run is a Watcher on a fakeKernel.
type run struct {
	kernel *fakeKernel
	logger ktesting.Underlier
	ended  error
	mu     sync.Mutex
	calls  [][]netip.Addr
}

func (r *run) call(addrs []netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, addrs)
}

// called returns what was told until now.
func (r *run) called() [][]netip.Addr {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// watch runs test beside a Watcher, in a bubble with a clock of its own.
func watch(t *testing.T, k *fakeKernel, test func(t *testing.T, r *run)) {
	synctest.Test(t, func(t *testing.T) {
		logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
		r := &run{kernel: k, logger: logger.GetSink().(ktesting.Underlier)}
		ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), logger))
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.ended = (&Watcher{kernel: k}).Run(ctx, r.call)
		}()
		synctest.Wait()
		test(t, r)
		cancel()
		<-done
		if _, open := k.subscribed(); open != 0 {
			t.Errorf("%d subscriptions were left open", open)
		}
	})
}

func (r *run) logged() (errs, infos int) {
	for _, entry := range r.logger.GetBuffer().Data() {
		if entry.Type == ktesting.LogError {
			errs++
		} else {
			infos++
		}
	}
	return errs, infos
}

func (r *run) mustHave(t *testing.T, calls int, addrs ...string) {
	t.Helper()
	got := r.called()
	if len(got) != calls || !slices.Equal(got[calls-1], addresses(addrs...)) {
		t.Fatalf("got calls %v, want %d, the last with %v", got, calls, addrs)
	}
}

// addresses parses texts.
func addresses(texts ...string) []netip.Addr {
	var addrs []netip.Addr
	for _, text := range texts {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	return addrs
}

func TestWatcherTellsOfTheSortedListAtOnce(t *testing.T) {
	k := &fakeKernel{have: addresses("fd00::1", "10.0.0.2", "10.0.0.1", "10.0.0.2")}
	watch(t, k, func(t *testing.T, r *run) { r.mustHave(t, 1, "10.0.0.1", "10.0.0.2", "fd00::1") })
}

func TestWatcherTellsOfANodeWithoutAddresses(t *testing.T) {
	watch(t, &fakeKernel{}, func(t *testing.T, r *run) { r.mustHave(t, 1) })
}

func TestWatcherTellsOfAChangeAfterTheQuietTime(t *testing.T) {
	watch(t, &fakeKernel{have: addresses("10.0.0.1")}, func(t *testing.T, r *run) {
		k := r.kernel
		k.set("10.0.0.1", "fd00::1")
		time.Sleep(quietTime)
		r.mustHave(t, 2, "10.0.0.1", "fd00::1")
		k.set("fd00::1")
		time.Sleep(quietTime)
		r.mustHave(t, 3, "fd00::1")
	})
}

func TestWatcherIsSilentWhereTheListIsTheSame(t *testing.T) {
	watch(t, &fakeKernel{have: addresses("10.0.0.1")}, func(t *testing.T, r *run) {
		r.kernel.announce() // a lifetime was renewed
		time.Sleep(time.Minute)
		r.mustHave(t, 1, "10.0.0.1")
	})
}

func TestWatcherDoesNotMissWhatChangesWhileItStarts(t *testing.T) {
	k := &fakeKernel{have: addresses("10.0.0.1")}
	k.onList = func() {
		k.onList, k.have = nil, addresses("10.0.0.2")
		k.signal()
	}
	watch(t, k, func(t *testing.T, r *run) {
		r.mustHave(t, 1, "10.0.0.1")
		time.Sleep(quietTime)
		r.mustHave(t, 2, "10.0.0.2")
	})
}

func TestWatcherLooksRarelyAtALoop(t *testing.T) {
	watch(t, &fakeKernel{have: addresses("10.0.0.1")}, func(t *testing.T, r *run) {
		for range 100 { // two seconds
			r.kernel.set("10.0.0.1", "10.0.0.9")
			time.Sleep(10 * time.Millisecond)
			r.kernel.set("10.0.0.1")
			time.Sleep(10 * time.Millisecond)
		}
		r.kernel.set("10.0.0.1", "10.0.0.2")
		time.Sleep(longestTime)
		n := len(r.called())
		if n > 7 {
			t.Errorf("%d calls", n)
		}
		r.mustHave(t, n, "10.0.0.1", "10.0.0.2")
	})
}

func TestWatcherTellsOfOtherChangesDuringALoop(t *testing.T) {
	watch(t, &fakeKernel{have: addresses("10.0.0.1")}, func(t *testing.T, r *run) {
		r.kernel.edit(func() { r.kernel.have = addresses("10.0.0.1", "10.0.0.2") })
		for range 60 {
			r.kernel.announce()
			time.Sleep(10 * time.Millisecond)
		}
		r.mustHave(t, 2, "10.0.0.1", "10.0.0.2")
	})
}

func TestWatcherListsAgainAfterTheSocketFails(t *testing.T) {
	watch(t, &fakeKernel{have: addresses("10.0.0.1")}, func(t *testing.T, r *run) {
		k := r.kernel
		k.edit(func() { k.have = addresses("10.0.0.2") }) // nothing announces it
		k.breakSocket()
		time.Sleep(fastestRetry)
		r.mustHave(t, 2, "10.0.0.2")
		if attempts, open := k.subscribed(); attempts != 2 || open != 1 {
			t.Errorf("got %d subscriptions, %d open", attempts, open)
		}
	})
}

func TestWatcherLogsTroubleOnceAndItsEndOnce(t *testing.T) {
	watch(t, &fakeKernel{refuse: unix.ENOMEM}, func(t *testing.T, r *run) {
		k := r.kernel
		expect := func(wantErrs, wantInfos int) {
			t.Helper()
			synctest.Wait()
			if errs, infos := r.logged(); errs != wantErrs || infos != wantInfos {
				t.Fatalf("got %d errors and %d infos, want %d and %d", errs, infos, wantErrs, wantInfos)
			}
		}
		time.Sleep(time.Minute)
		expect(1, 0)
		if attempts, _ := k.subscribed(); len(r.called()) != 0 || attempts < 8 || attempts > 14 {
			t.Errorf("got %d calls and %d attempts", len(r.called()), attempts)
		}
		k.edit(func() { k.refuse, k.unlisted = nil, unix.EINTR })
		time.Sleep(time.Minute)
		expect(1, 0)
		k.edit(func() { k.unlisted, k.have = nil, addresses("10.0.0.1") })
		time.Sleep(2*slowestRetry + time.Second)
		r.mustHave(t, 1, "10.0.0.1")
		expect(1, 1)
		k.breakSocket()
		time.Sleep(fastestRetry)
		expect(2, 1)
	})
}

func TestWatcherBacksOffFromASocketThatAlwaysFails(t *testing.T) {
	watch(t, &fakeKernel{}, func(t *testing.T, r *run) {
		for range 60 {
			r.kernel.breakSocket()
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if errs, infos := r.logged(); errs != 1 || infos != 0 {
			t.Errorf("got %d errors and %d infos", errs, infos)
		}
		if attempts, _ := r.kernel.subscribed(); attempts > 20 {
			t.Errorf("%d subscriptions in a minute", attempts)
		}
	})
}

func TestWatcherEndsWhereTheKernelRefuses(t *testing.T) {
	for _, refusal := range []error{unix.EPERM, unix.EAFNOSUPPORT} {
		watch(t, &fakeKernel{refuse: refusal}, func(t *testing.T, r *run) {
			if !errors.Is(r.ended, refusal) {
				t.Errorf("got %v, want %v", r.ended, refusal)
			}
		})
	}
}

func TestWatcherEndsWithoutAnErrorInAllItsWaits(t *testing.T) {
	tests := map[string]func(*fakeKernel){
		"for a change":       func(*fakeKernel) {},
		"for quiet":          (*fakeKernel).announce,
		"for a next attempt": (*fakeKernel).breakSocket,
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			var r *run
			watch(t, &fakeKernel{}, func(_ *testing.T, running *run) {
				r = running
				prepare(r.kernel)
				synctest.Wait()
			})
			if r.ended != nil {
				t.Error(r.ended)
			}
		})
	}
}
