// Package conntrack looks after the kernel's connection tracking.
package conntrack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Timeouts are how long the kernel remembers connections without traffic; 0: as long as it does now.
type Timeouts struct {
	TCPEstablished, TCPCloseWait, UDP, UDPStream time.Duration
	// TCPBeLiberal lets TCP packets pass that are out of their connection's window. It is only ever switched on.
	TCPBeLiberal bool
}

// Apply sets what is asked for. An error is no reason to stop.
func (t Timeouts) Apply() error { return t.apply("/") }

func (t Timeouts) apply(root string) error {
	var failed []error
	set := func(name string, value int) {
		if value > 0 {
			failed = append(failed, write(filepath.Join(root, "proc/sys/net/netfilter/nf_conntrack_"+name), value))
		}
	}
	set("tcp_timeout_established", int(t.TCPEstablished.Seconds()))
	set("tcp_timeout_close_wait", int(t.TCPCloseWait.Seconds()))
	set("udp_timeout", int(t.UDP.Seconds()))
	set("udp_timeout_stream", int(t.UDPStream.Seconds()))
	if t.TCPBeLiberal {
		set("tcp_be_liberal", 1)
	}
	return errors.Join(failed...)
}

// mostTracked bounds what is asked for on machines with many CPUs: a million connections take some 400 MB of kernel memory.
const mostTracked = 1 << 20

// Limits are how many connections the kernel shall be able to track.
type Limits struct {
	PerCore int // 0: leave everything as it is
	Min     int
}

// total is the limit for a machine with the given number of CPUs.
func (l Limits) total(cpus int) int {
	if l.PerCore == 0 {
		return 0
	}
	return max(l.Min, min(l.PerCore*cpus, mostTracked))
}

// Apply raises the kernel's limit, and with it the size of the hash table, where they are lower. It never lowers one: an
// operator who set more knew why. An error is no reason to stop: connections are tracked all the same, only fewer.
func (l Limits) Apply() error { return l.apply("/", runtime.NumCPU()) }

func (l Limits) apply(root string, cpus int) error {
	want := l.total(cpus)
	if want == 0 {
		return nil
	}
	// The kernel divides its own default in the same way: at most four connections a bucket.
	const perBucket = 4
	return errors.Join(
		raise(filepath.Join(root, "proc/sys/net/netfilter/nf_conntrack_max"), want),
		raise(filepath.Join(root, "sys/module/nf_conntrack/parameters/hashsize"), want/perBucket),
	)
}

// raise sets a number, unless it is that high already.
func raise(file string, want int) error {
	have, err := read(file)
	if err != nil || have >= want {
		return err
	}
	return write(file, want)
}

func read(file string) (int, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("%w; load the module nf_conntrack", err)
	}
	if err != nil {
		return 0, err
	}
	value, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return value, nil
}

// write sets a number, unless it is that already: a file that cannot be written needs no writing then.
func write(file string, want int) error {
	have, err := read(file)
	if err != nil || have == want {
		return err
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(want)), 0o644); err != nil {
		return fmt.Errorf("%w; it is %d and should be %d: set it from outside, where the host's own files can be written", err, have, want)
	}
	return nil
}
