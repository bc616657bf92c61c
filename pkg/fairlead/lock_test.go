package fairlead

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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
			release, err := holdNode(logContext(ctx, logger), nodeLock, self, func(other string) { logger.Info("Told", "other", other) })
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
	waitFor(t, log, "Waiting")
	select {
	case <-second:
		t.Fatal("two Fairleads hold a node")
	default:
	}
	waitFor(t, log, "Told")
	for _, word := range []string{"Fairlead v1", fmt.Sprint(os.Getpid())} {
		if !strings.Contains(log.String(), word) {
			t.Errorf("does not name the other by %q:\n%s", word, log.String())
		}
	}
	release()
	receive(t, second)()
}

// waitFor waits until a log has a message.
func waitFor(t *testing.T, log ktesting.Buffer, message string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(log.String(), message); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q is not in the log:\n%s", message, log.String())
		}
	}
}

func TestAWaitingFairleadLogsItOnce(t *testing.T) {
	node := hosts(t)[0]
	var holder net.Listener
	err := node.Do(func() (err error) {
		holder, err = net.Listen("unix", nodeLock)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	waiting, log := hold(ctx, t, node, "Fairlead v2")
	for range 3 { // it asks the holder at each attempt
		conn, err := holder.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "Fairlead v1")
		conn.Close()
	}
	if n := strings.Count(log.String(), "Waiting: another Fairlead"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log.String())
	}
	holder.Close()
	if release := receive(t, waiting); release == nil {
		t.Error("it does not get the node")
	} else {
		release()
	}
}

func TestAWaitingFairleadEndsWithItsContext(t *testing.T) {
	nodes := hosts(t)
	done, _ := hold(t.Context(), t, nodes[0], "Fairlead v1")
	defer receive(t, done)()
	ctx, stop := context.WithCancel(t.Context())
	second, _ := hold(ctx, t, nodes[0], "Fairlead v2")
	stop()
	if release := receive(t, second); release != nil {
		t.Error("it holds the node")
	}
}
