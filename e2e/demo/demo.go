package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// demo is one showing.
type demo struct {
	out      io.Writer
	log      logBuffer // what Fairlead said
	examples *examples // a copy in a folder of its own, which is rewritten as pods come and go
	stage    *stage
	fairlead *fairlead
	phases   int // shown so far
	total    int // connections made
}

// run shows everything, one step after the other, and leaves nothing behind.
func (d *demo) run(ctx context.Context, program, dir string) (err error) {
	began := time.Now()
	path, err := findPrograms(program)
	if err != nil {
		return err
	}
	copied, err := copyFolder(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(copied)) }()
	if d.examples, err = readExamples(copied); err != nil {
		return err
	}
	if d.stage, err = setStage(d.examples); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stage.Close()) }()
	d.stage.describe(d.out)

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if d.fairlead, err = startFairlead(d.stage.node, path, copied, &d.log, stop); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{d.awaitAnswers, d.showChange, d.showIPv6, d.showRefusal, d.showEnd} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.say("\nAll well: %d connections, 0 failed, nothing left behind, in %s.", d.total, seconds(time.Since(began)))
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// ways are the two ways to the pods in one family: from inside through the cluster IP, from outside through the node port.
func (d *demo) ways(f lab.Family) []way {
	inside, outside := d.examples.services[clusterIPService], d.examples.services[nodePortService]
	return []way{
		{"cluster IP", "the client pod", d.stage.client, clusterAddress(inside, f)},
		{"node port", "the client outside", d.stage.outside, d.stage.node.AddrPort(f, nodePort(outside))},
	}
}

// awaitAnswers waits until every way leads to a pod.
func (d *demo) awaitAnswers(ctx context.Context) error {
	began := time.Now()
	for _, f := range lab.Families {
		for _, w := range d.ways(f) {
			if err := await(ctx, w.String(), func() error { return w.answers(ctx) }); err != nil {
				return err
			}
		}
	}
	d.say("Fairlead runs on %s and reads the Services from files. They answer %s after its start, over IPv4 and IPv6.",
		d.stage.node.Name, seconds(time.Since(began)))
	d.say("From now on the client pod connects to the cluster IP, and the client outside to the node port, over and over.\n")
	return nil
}

// showRefusal shows what a client sees of a Service without endpoints.
func (d *demo) showRefusal(ctx context.Context) error {
	w := way{"cluster IP", "the client pod", d.stage.client, clusterAddress(d.examples.services[emptyService], lab.IPv4)}
	took, err := w.refuses(ctx)
	if err != nil {
		return fmt.Errorf("the Service %s has no endpoints and has to refuse at once: %w", emptyService, err)
	}
	d.say("The Service %s, %s, has nobody behind it: it refuses at once, within %s.", emptyService, w.to, milliseconds(took))
	return nil
}

// copyFolder copies a folder to a new one, which it returns.
func copyFolder(dir string) (string, error) {
	parent, err := os.MkdirTemp("", "fairlead-demo-")
	if err != nil {
		return "", fmt.Errorf("make a folder for the copy of the examples: %w", err)
	}
	if err := os.CopyFS(parent, os.DirFS(filepath.Clean(dir))); err != nil {
		return "", errors.Join(fmt.Errorf("copy the examples from %s: %w", dir, err), os.RemoveAll(parent))
	}
	return parent, nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
