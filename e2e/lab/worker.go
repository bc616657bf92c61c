package lab

import (
	"errors"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

var (
	errClosed = errors.New("host is closed")
	errGoexit = errors.New("the function ended its goroutine instead of returning")
)

// workers are goroutines each locked to an OS thread inside one namespace.
// There are as many as jobs ever ran at the same time. They all live until
// close, even when idle: a process started with Pdeathsig is killed when the
// thread that forked it ends, not when the whole parent process does.
type workers struct {
	jobs chan func()
	quit chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex
	closed bool
}

func newWorkers() *workers {
	return &workers{jobs: make(chan func()), quit: make(chan struct{})}
}

// do runs f on an idle worker, or on a new one that calls enter first.
func (w *workers) do(enter, f func() error) error {
	done := make(chan error, 1)
	job := func() {
		err := errGoexit
		defer func() { done <- err }()
		err = f()
	}
	select {
	case <-w.quit:
		return errClosed
	case w.jobs <- job:
	default:
		if err := w.start(enter, job); err != nil {
			return err
		}
	}
	return <-done
}

// start adds a worker whose thread gets into the namespace by enter.
func (w *workers) start(enter func() error, first func()) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return errClosed
	}
	w.wg.Add(1)
	w.mu.Unlock()

	entered := make(chan error, 1)
	onOwnThread(func() {
		defer w.wg.Done()
		if err := enter(); err != nil {
			entered <- err
			return
		}
		entered <- nil
		first()
		w.loop()
	})
	return <-entered
}

func (w *workers) loop() {
	for {
		select {
		case job := <-w.jobs:
			job()
		case <-w.quit:
			return
		}
	}
}

// close ends the idle workers and waits for the busy ones.
func (w *workers) close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.quit)
	}
	w.mu.Unlock()
	w.wg.Wait()
}

// onOwnThread runs f on a thread that no other goroutine uses and that ends
// with f: the runtime throws away a thread whose goroutine ended locked.
//
// The main thread is passed over. It cannot be thrown away, and
// /proc/self/ns/net and /proc/net show its namespace for the whole process.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		// Stay on the main thread until another one is taken, so that the
		// next goroutine cannot land here as well.
		taken := make(chan struct{})
		onOwnThread(func() {
			close(taken)
			f()
		})
		<-taken
		runtime.UnlockOSThread()
	}()
}
