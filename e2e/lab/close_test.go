package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Nothing is left after Close: no descriptors, no threads in another
// namespace, no children. Interfaces where the process was started stay the
// same all the time.
func TestNothingLeft(t *testing.T) {
	useLab(t) // opens what the runtime opens once and keeps
	files, links := openFiles(t), interfaces(t)
	for range 3 {
		useLab(t)
	}
	if got := interfaces(t); !slices.Equal(got, links) {
		t.Errorf("interfaces %v, want %v", got, links)
	}
	settle(t, func() error {
		if got := openFiles(t); len(got) > len(files) {
			return fmt.Errorf("open files:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(files, "\n"))
		}
		return nil
	})
	settle(t, func() error { return threadsAtHome(t) })
	err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if !errors.Is(err, unix.ECHILD) {
		t.Errorf("there are children left: %v", err)
	}
}

// useLab builds a lab, uses all of it and closes it, leaving connections,
// commands and a dial to nowhere open on purpose.
func useLab(t *testing.T) {
	t.Helper()
	before := interfaces(t)
	l, err := New(Options{Nodes: 3})
	if err != nil {
		t.Fatal(err)
	}
	pod := newPod(t, l, l.Nodes[2], "pod")
	serve(t, pod, 80)
	conn, err := l.Outside.Connect(t.Context(), pod.AddrPort(IPv6, 80))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Outside.AskMany(t.Context(), "tcp", pod.AddrPort(IPv4, 80), 100, 8); err != nil {
		t.Error(err)
	}
	if _, err := pod.StartProcess("sleep", []string{"100"}, nil); err != nil {
		t.Error(err)
	}
	cmd := pod.Command(t.Context(), "sleep", "100")
	if err := pod.Start(cmd); err != nil {
		t.Fatal(err)
	}
	dialled := make(chan error)
	go func() {
		_, err := l.Outside.DialContext(t.Context(), "tcp", "192.0.2.1:80")
		dialled <- err
	}()
	if got := interfaces(t); !slices.Equal(got, before) {
		t.Errorf("interfaces %v, want %v", got, before)
	}
	settle(t, func() error { return dials(l.Outside, "010200C0:0050") })
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-dialled; err == nil {
		t.Error("a dial outlived the lab")
	}
	if err := cmd.Wait(); err == nil {
		t.Error("a command outlived the lab")
	}
	_ = conn.Close()
	if err := pod.Do(func() error { return nil }); !errors.Is(err, errClosed) {
		t.Errorf("do in a closed host: %v", err)
	}
}

// dials returns nil if a host has a TCP socket in SYN-SENT to an address, which
// is written as in /proc/net/tcp.
func dials(h *Host, to string) error {
	const synSent = " 02 "
	sockets, err := tcpSockets(h, IPv4)
	if err == nil && !strings.Contains(sockets, to+synSent) {
		err = fmt.Errorf("%s does not dial %s:\n%s", h.Name, to, sockets)
	}
	return err
}

// tcpSockets is the kernel's list of a host's TCP sockets.
func tcpSockets(h *Host, f Family) (string, error) {
	file := "/proc/thread-self/net/tcp"
	if f == IPv6 {
		file += "6"
	}
	var list []byte
	err := h.Do(func() (err error) {
		list, err = os.ReadFile(file)
		return err
	})
	return string(list), err
}

// settle waits until check returns nil.
func settle(t *testing.T, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(Patience(60 * time.Second)); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Error(err)
}

func interfaces(t *testing.T) []string {
	t.Helper()
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range links {
		names = append(names, l.Name)
	}
	slices.Sort(names)
	return names
}

func openFiles(t *testing.T) []string {
	t.Helper()
	runtime.GC() // closes what has a finalizer
	paths, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, p := range paths {
		if target, err := os.Readlink(p); err == nil { // else Glob's own
			files = append(files, target)
		}
	}
	return files
}

func threadsAtHome(t *testing.T) error {
	t.Helper()
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		if ns, err := os.Readlink(p); err == nil && ns != home {
			return fmt.Errorf("%s is %s, want %s", p, ns, home)
		}
	}
	return nil
}
