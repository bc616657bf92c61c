// Package site is a lab with Fairlead on its first node: the common ground of the tests that look from outside. Its methods fail
// the test when something does not go well.
package site

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/e2e/lab"
)

// PodCIDRs are the addresses of the lab's pods.
const PodCIDRs = "10.244.0.0/16,fd00:10:244::/48"

// patience is how long a change may take to show, unless a Site says otherwise.
var patience = lab.Patience(60 * time.Second)

// Site is a lab with Fairlead on its first node.
type Site struct {
	*lab.Lab
	// Variant of iptables that Fairlead is told to use.
	Variant string
	// Manifests is the folder that Fairlead reads, unless it is started with another source.
	Manifests string
	// Log is what Fairlead has said.
	Log Log
	// Patience is how long a change may take to show.
	Patience time.Duration

	t       *testing.T
	process *lab.Process
}

// New builds a lab; Fairlead is not started yet.
func New(t *testing.T, variant string) *Site {
	t.Helper()
	l, err := lab.New(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &Site{Lab: l, t: t, Variant: variant, Manifests: t.TempDir(), Patience: patience}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("Fairlead said:\n%s", s.Log.String())
		}
	})
	return s
}

// Node is where Fairlead runs.
func (s *Site) Node() *lab.Host { return s.Nodes[0] }

// Start runs Fairlead on the first node, with its objects from the manifests, and more flags.
func (s *Site) Start(flags ...string) {
	s.t.Helper()
	s.StartOn(append([]string{"--manifests", s.Manifests}, flags...)...)
}

// StartOn runs Fairlead on the first node, with the flags that say where its objects are, and syncs without much delay.
func (s *Site) StartOn(flags ...string) {
	s.t.Helper()
	s.process = s.StartProcess(append([]string{ModeFlag("min-sync-period"), "100ms"}, flags...)...)
}

// StartProcess is for those who have to know the process, or want the usual settings: it runs Fairlead on the first node in the
// mode under test, with the flags that a lab needs and those given.
func (s *Site) StartProcess(flags ...string) *lab.Process {
	s.t.Helper()
	args := []string{"--hostname-override", s.Node().Name, "--cluster-cidr", PodCIDRs, "--iptables-variant", s.Variant,
		"--conntrack-max-per-core", "0", "-v", "4"}
	if Mode != iptablesMode {
		args = append(args, "--proxy-mode", Mode)
	}
	process, err := s.Node().StartProcess(Program, append(args, flags...), &s.Log)
	if err != nil {
		s.t.Fatal(err)
	}
	return process
}

// Stop ends Fairlead by a signal. It has to end well, unless it is killed.
func (s *Site) Stop(signal syscall.Signal) {
	s.t.Helper()
	err := s.process.Stop(signal)
	if err != nil && signal != syscall.SIGKILL {
		s.t.Errorf("Fairlead ended badly: %v", err)
	}
}

// Pod makes a pod that answers on the given port over TCP and UDP, in both families.
func (s *Site) Pod(node *lab.Host, name string, port uint16) *lab.Host {
	s.t.Helper()
	pod, err := s.Lab.Pod(node, name)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Serve(pod, port)
	return pod
}

// Serve makes a host answer on a port over TCP and UDP, in both families.
func (s *Site) Serve(host *lab.Host, port uint16) {
	s.t.Helper()
	if _, err := host.ServeTCP(lab.Wildcard(lab.IPv6, port)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := host.ServeUDP(lab.Wildcard(lab.IPv6, port)); err != nil {
		s.t.Fatal(err)
	}
}

// Write puts objects into a manifest, in place of what it held.
func (s *Site) Write(name string, objects ...runtime.Object) {
	s.t.Helper()
	var text bytes.Buffer
	for _, o := range objects {
		document, err := yaml.Marshal(o)
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(&text, "---\napiVersion: %s\nkind: %s\n%s", apiVersion(o), kind(o), document)
	}
	file := filepath.Join(s.Manifests, name)
	if err := os.WriteFile(file+".new", text.Bytes(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file+".yaml"); err != nil {
		s.t.Fatal(err)
	}
}

func kind(o runtime.Object) string {
	text := fmt.Sprintf("%T", o)
	return text[strings.LastIndexByte(text, '.')+1:]
}

func apiVersion(o runtime.Object) string {
	if kind(o) == "EndpointSlice" {
		return "discovery.k8s.io/v1"
	}
	return "v1"
}

// Eventually tries until it goes well.
func (s *Site) Eventually(what string, try func() error) {
	s.t.Helper()
	s.Within(s.Patience, what, try)
}

// Within is Eventually with a limit of its own.
func (s *Site) Within(limit time.Duration, what string, try func() error) {
	s.t.Helper()
	var err error
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	s.t.Fatalf("%s: after %v still: %v", what, limit, err)
}

// Answers waits until a Service answers a client.
func (s *Site) Answers(client *lab.Host, network string, to netip.AddrPort) {
	s.t.Helper()
	s.Eventually(fmt.Sprintf("%s to %s from %s", network, to, client.Name), func() error {
		_, err := client.Ask(context.Background(), network, to, lab.Timeout(lab.Patience(300*time.Millisecond)))
		return err
	})
}

// Says waits until Fairlead has logged something.
func (s *Site) Says(text string) {
	s.t.Helper()
	s.Eventually(fmt.Sprintf("Fairlead says %q", text), func() error {
		if s.Log.Count(text) == 0 {
			return fmt.Errorf("it says:\n%s", s.Log.String())
		}
		return nil
	})
}

// Verified waits until Fairlead has compared the kernel with what it should hold so many times more, for each family. A comparison
// that is under way now may have passed what happens next: two are enough to find anything, except in IPVS mode on a busy machine,
// where a comparison has a budget of time and the next one goes on where it ended.
func (s *Site) Verified(times int) { s.t.Helper(); s.logsMore("Verified", times) }

// FailedToSync waits until Fairlead has tried in vain to sync so many times more, for each family.
func (s *Site) FailedToSync(times int) { s.t.Helper(); s.logsMore("Sync failed", times) }

// logsMore waits until a message has been logged so many times more, for each family. What was logged before counts by its time, not by
// when it arrives here.
func (s *Site) logsMore(message string, times int) {
	s.t.Helper()
	since := Stamp()
	s.Eventually(fmt.Sprintf("%q is logged %d times more", message, times), func() error {
		for _, f := range lab.Families {
			pattern := regexp.MustCompile(fmt.Sprintf(`(?m)^[IE](\d{4} [\d:.]+) .*%q family=%q`, message, f))
			n := 0
			for _, line := range pattern.FindAllStringSubmatch(s.Log.String(), -1) {
				if line[1] >= since {
					n++
				}
			}
			if n < times {
				return fmt.Errorf("%s: %d times since %s", f, n, since)
			}
		}
		return nil
	})
}

// Settled waits until the first sync has had all its effects. In iptables mode, the last one is that route_localnet is set, behind a rule of
// its own.
func (s *Site) Settled() {
	s.t.Helper()
	if Mode != "iptables" {
		return
	}
	s.Eventually("route_localnet is set", func() error {
		out, err := s.Node().Output(s.t.Context(), "cat", "/proc/sys/net/ipv4/conf/all/route_localnet")
		if err == nil && strings.TrimSpace(out) != "1" {
			err = fmt.Errorf("it is %s", out)
		}
		return err
	})
}

// Rules are the node's rules without counters and comments.
func (s *Site) Rules(f lab.Family) string {
	s.t.Helper()
	program := "iptables-" + s.Variant + "-save"
	if f == lab.IPv6 {
		program = "ip6tables-" + s.Variant + "-save"
	}
	out, err := s.Node().Output(context.Background(), program)
	for range 5 {
		if err == nil {
			break
		}
		// What changes meanwhile can make it fail; see xtables.Steadily.
		out, err = s.Node().Output(context.Background(), program)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	var rules strings.Builder
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, ":") {
			line, _, _ = strings.Cut(line, " [")
		}
		rules.WriteString(strings.TrimSpace(line) + "\n")
	}
	return rules.String()
}

// ForEachVariant runs a test on each variant.
func ForEachVariant(t *testing.T, test func(t *testing.T, variant string)) {
	for _, v := range Variants {
		t.Run(v, func(t *testing.T) { test(t, v) })
	}
}
