package bench

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/pkg/iptables"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// endpointsEach is how many endpoints every service has.
const endpointsEach = 10

var limit = flag.Duration("limit", time.Minute, "how long kube-proxy's rules may take to load before they are given up")

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "fairlead-bench")
	if err != nil {
		panic(err)
	}
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard) // what is logged would stand between the figures
	// iptables-legacy has one lock for all namespaces. With one of our own nobody else waits while kube-proxy's rules load,
	// and nobody else's work is measured.
	os.Setenv("XTABLES_LOCKFILE", filepath.Join(dir, "xtables.lock"))
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// newLab makes a lab whose only node has no rules yet.
func newLab(tb testing.TB) (l *lab.Lab, end func()) {
	tb.Helper()
	l, err := lab.New(lab.Options{Nodes: 1})
	if err != nil {
		tb.Fatal(err)
	}
	return l, func() {
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	}
}

// ours is a node with Fairlead's rules.
type ours struct {
	node    *lab.Host
	builder *service.Builder
	backend *iptables.Backend
}

func newOurs(l *lab.Lab, variant xtables.Variant, c Cluster) *ours {
	return &ours{l.Nodes[0], c.Builder(), iptables.New(iptables.Options{Family: service.IPv4, Variant: variant, MasqueradeBit: 14})}
}

// sync brings the node's rules up to what the builder has seen, and says how long the backend took for it.
func (o *ours) sync(tb testing.TB, all bool) (took time.Duration) {
	tb.Helper()
	table, dirty, _ := o.builder.Build()
	if all {
		dirty = nil
	}
	err := o.node.Do(func() error {
		start := time.Now()
		err := o.backend.Sync(context.Background(), table, dirty)
		took = time.Since(start)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return took
}

// theirs is a node with rules in kube-proxy's shape.
type theirs struct {
	node    *lab.Host
	variant xtables.Variant
}

func newTheirs(tb testing.TB, l *lab.Lab, variant xtables.Variant) *theirs {
	tb.Helper()
	k := &theirs{l.Nodes[0], variant}
	if _, done := k.restore(tb, []byte(Jumps)); !done {
		tb.Fatal("not even the jumps load")
	}
	return k
}

// restore loads text as kube-proxy does, and says how long it took, or that it was given up at the limit.
func (k *theirs) restore(tb testing.TB, text []byte) (took time.Duration, done bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	cmd := k.node.Command(ctx, fmt.Sprintf("iptables-%s-restore", k.variant), "--noflush", "-w", "5", "--counters")
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &said, &said
	start := time.Now()
	err := k.node.Run(cmd)
	took = time.Since(start)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return took, false
	}
	if err != nil {
		tb.Fatalf("%v: %s", err, said.String())
	}
	return took, true
}
