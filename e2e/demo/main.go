// Demo shows Fairlead at work on one machine: a small network of namespaces, the examples as Services, traffic that goes on
// while a pod comes and goes, and who got how much of it. Its exit status is 1 if anything was not as it should be. It needs
// root and iptables.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// errInterrupted says that the user has had enough.
var errInterrupted = errors.New("interrupted")

func main() {
	program := flag.String("fairlead", "bin/fairlead", "the program to show")
	dir := flag.String("examples", "examples", "folder of YAML files with the Services to show it on; it is only read")
	flag.Parse()
	os.Exit(run(*program, *dir))
}

// run is main with its clean-up done by the time it returns, which os.Exit would skip.
func run(program, dir string) (status int) {
	ctx, stop := untilSignal()
	defer stop()
	d := &demo{out: os.Stdout}
	err := withOwnLock(func() error { return d.run(ctx, program, dir) })
	if err == nil {
		return 0
	}
	if errors.Is(context.Cause(ctx), errInterrupted) {
		fmt.Fprintln(os.Stderr, "\nInterrupted.")
		return 1
	}
	fmt.Fprintf(os.Stderr, "\nFAILED: %v\n", err)
	if said := d.log.String(); said != "" {
		fmt.Fprintf(os.Stderr, "\nFairlead said:\n%s", said)
	}
	return 1
}

// withOwnLock runs f with a lock file for iptables-legacy. The default one is shared by all network namespaces: the demo and other
// programs on this machine would wait for each other.
func withOwnLock(f func() error) (err error) {
	dir, err := os.MkdirTemp("", "fairlead-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the iptables lock: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Setenv("XTABLES_LOCKFILE", filepath.Join(dir, "xtables.lock")); err != nil {
		return fmt.Errorf("set the iptables lock: %w", err)
	}
	return f()
}

// untilSignal returns a context that a signal to end cancels, with errInterrupted as its cause. A second signal ends the
// program at once.
func untilSignal() (context.Context, context.CancelFunc) {
	signalled, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ctx, cancel := context.WithCancelCause(context.Background())
	context.AfterFunc(signalled, func() {
		stop()
		cancel(errInterrupted)
	})
	return ctx, stop
}
