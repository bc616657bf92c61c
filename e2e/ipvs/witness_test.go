//go:build ipvs

package ipvs

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// witness asks all the time, and notes who answers.
type witness struct {
	t      *testing.T
	pods   []*lab.Host // who may
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	heard map[string]int // by network, family and asker: answers of the pods
	wrong []string       // answers of others
}

// watch asks some ports from everywhere, until end: over TCP by a connection at a time, over UDP by one flow that never ends and by
// flows of one question.
func (s *stage) watch(targets map[lab.Family][]netip.AddrPort, pods ...*lab.Host) *witness {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	w := &witness{t: s.t, pods: pods, cancel: cancel, heard: map[string]int{}}
	s.t.Cleanup(func() { w.end() })
	for _, from := range s.askers() {
		for f, list := range targets {
			for _, network := range []string{"tcp", "udp"} {
				w.wg.Go(func() { w.ask(ctx, from, network, list) })
			}
			w.wg.Go(func() { w.stream(ctx, from, f, list) })
		}
	}
	return w
}

// end stops asking, and returns what others than the pods have answered.
func (w *witness) end() []string {
	w.cancel()
	w.wg.Wait()
	return w.wrong
}

// everybody has to have heard the pods, or the test has shown nothing.
func (w *witness) everybody() {
	w.t.Helper()
	const kinds = 3 * 3 * 2 // networks, askers, families
	if len(w.heard) != kinds {
		w.t.Errorf("not everybody has heard the pods: %v", w.heard)
	}
}

func (w *witness) ask(ctx context.Context, from *lab.Host, network string, targets []netip.AddrPort) {
	for ctx.Err() == nil {
		for _, to := range targets {
			answer, err := from.Ask(ctx, network, to, lab.Reset(), lab.Timeout(100*time.Millisecond))
			if err == nil {
				w.note(network, from, to, answer.Server)
			}
			if ctx.Err() != nil {
				return
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// stream sends from one port, so that every packet but the first one to a target is part of a flow that the kernel knows.
func (w *witness) stream(ctx context.Context, from *lab.Host, f lab.Family, targets []netip.AddrPort) {
	conn, err := from.ListenPacket(fmt.Sprintf("udp%d", f), lab.Wildcard(f, 0).String())
	if err != nil {
		w.accuse(err.Error())
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	w.wg.Go(func() { w.read(conn, from) })
	for ctx.Err() == nil {
		for _, to := range targets {
			_, _ = conn.WriteTo([]byte("?\n"), net.UDPAddrFromAddrPort(to)) // there may be no way there yet
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (w *witness) read(conn net.PacketConn, from *lab.Host) {
	buf := make([]byte, 512)
	for {
		n, of, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		server, _, _ := strings.Cut(string(buf[:n]), " ")
		addr, err := netip.ParseAddrPort(server)
		if err != nil {
			w.accuse(fmt.Sprintf("%s answers %q", of, buf[:n]))
			continue
		}
		to, _ := netip.ParseAddrPort(of.String())
		w.note("udp stream", from, to, addr)
	}
}

func (w *witness) note(network string, from *lab.Host, to, by netip.AddrPort) {
	if !isOneOf(by.Addr(), w.pods...) {
		w.accuse(fmt.Sprintf("%s answers %s's question to %s over %s at %s", by, from.Name, to, network, time.Now().Format(time.TimeOnly)))
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard[fmt.Sprintf("%s %s %s", network, familyOf(by.Addr()), from.Name)]++
}

func (w *witness) accuse(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, text)
}
