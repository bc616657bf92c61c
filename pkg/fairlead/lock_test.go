package fairlead

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2/ktesting"

	"github.com/fairlead/fairlead/e2e/lab"
)

// hosts returns two hosts, each with a network namespace of its own.
func hosts(t *testing.T) []*lab.Host {
	t.Helper()
	l, err := lab.New(lab.Options{Nodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l.Nodes
}

// hold is holdNode in a host's network namespace, with what it logs.
func hold(ctx context.Context, t *testing.T, host *lab.Host, self string) (done <-chan func(), log ktesting.Buffer) {
	t.Helper()
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	got := make(chan func(), 1)
	go func() {
		defer close(got)
		err := host.Do(func() error {
			release, err := holdNode(logContext(ctx, logger), nodeLock, self)
			if err == nil {
				got <- release
			}
			return err
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()
	return got, logger.GetSink().(ktesting.Underlier).GetBuffer()
}

func receive(t *testing.T, from <-chan func()) func() {
	t.Helper()
	select {
	case release := <-from:
		return release
	case <-time.After(time.Minute):
		t.Fatal("not in time")
		return nil
	}
}

func TestOneFairleadHoldsANode(t *testing.T) {
	nodes := hosts(t)
	done, _ := hold(t.Context(), t, nodes[0], "Fairlead v1")
	release := receive(t, done)

	other, _ := hold(t.Context(), t, nodes[1], "Fairlead on another node")
	defer receive(t, other)()

	second, log := hold(t.Context(), t, nodes[0], "Fairlead v2")
	select {
	case <-second:
		t.Fatal("two Fairleads hold a node")
	case <-time.After(3 * lockPause):
	}
	said := log.String()
	if n := strings.Count(said, "Waiting"); n != 1 {
		t.Errorf("said %d times that it waits:\n%s", n, said)
	}
	for _, word := range []string{"Fairlead v1", fmt.Sprint(os.Getpid())} {
		if !strings.Contains(said, word) {
			t.Errorf("does not name the other by %q:\n%s", word, said)
		}
	}
	release()
	receive(t, second)()
}

func TestAWaitingFairleadCanBeEnded(t *testing.T) {
	nodes := hosts(t)
	done, _ := hold(t.Context(), t, nodes[0], "Fairlead v1")
	defer receive(t, done)()
	ctx, stop := context.WithCancel(t.Context())
	second, _ := hold(ctx, t, nodes[0], "Fairlead v2")
	stop()
	if release := receive(t, second); release != nil {
		t.Error("it has the node")
	}
}
