package packets

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/e2e/lab"
)

// variants are the kernel interfaces that everything is tried on.
var variants = []string{"legacy", "nft"}

// podCIDRs are the addresses of the lab's pods.
const podCIDRs = "10.244.0.0/16,fd00:10:244::/48"

// patience is how long a change may take to show.
const patience = 20 * time.Second

// site is a lab with Fairlead on its first node.
type site struct {
	*lab.Lab
	t         *testing.T
	variant   string
	manifests string
	log       logBuffer
	process   *lab.Process
}

// logBuffer collects what a program says.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// newSite builds a lab; Fairlead is not started yet.
func newSite(t *testing.T, variant string) *site {
	t.Helper()
	l, err := lab.New(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{Lab: l, t: t, variant: variant, manifests: t.TempDir()}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("Fairlead said:\n%s", s.log.String())
		}
	})
	return s
}

func (s *site) node() *lab.Host { return s.Nodes[0] }

// start runs Fairlead on the first node, with flags after those that every test needs.
func (s *site) start(flags ...string) {
	s.t.Helper()
	args := append([]string{"--manifests", s.manifests, "--hostname-override", s.node().Name, "--cluster-cidr", podCIDRs,
		"--iptables-variant", s.variant, "--iptables-min-sync-period", "100ms", "--conntrack-max-per-core", "0", "-v", "2"}, flags...)
	var err error
	if s.process, err = s.node().StartProcess(fairlead, args, &s.log); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) stop(signal syscall.Signal) {
	s.t.Helper()
	err := s.process.Stop(signal)
	if err != nil && signal != syscall.SIGKILL {
		s.t.Errorf("Fairlead ended badly: %v", err)
	}
}

// pod makes a pod that answers on the given port over TCP and UDP, in both families.
func (s *site) pod(node *lab.Host, name string, port uint16) *lab.Host {
	s.t.Helper()
	pod, err := s.Pod(node, name)
	if err != nil {
		s.t.Fatal(err)
	}
	s.serve(pod, port)
	return pod
}

func (s *site) serve(host *lab.Host, port uint16) {
	s.t.Helper()
	if _, err := host.ServeTCP(lab.Wildcard(lab.IPv6, port)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := host.ServeUDP(lab.Wildcard(lab.IPv6, port)); err != nil {
		s.t.Fatal(err)
	}
}

// write puts objects into a manifest, in place of what it held.
func (s *site) write(name string, objects ...runtime.Object) {
	s.t.Helper()
	var text bytes.Buffer
	for _, o := range objects {
		document, err := yaml.Marshal(o)
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(&text, "---\napiVersion: %s\nkind: %s\n%s", apiVersion(o), kind(o), document)
	}
	file := filepath.Join(s.manifests, name)
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

// eventually tries until it goes well.
func (s *site) eventually(what string, try func() error) {
	s.t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	s.t.Fatalf("%s: after %v still: %v", what, patience, err)
}

// answers waits until a Service answers a client.
func (s *site) answers(client *lab.Host, network string, to netip.AddrPort) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%s to %s from %s", network, to, client.Name), func() error {
		_, err := client.Ask(context.Background(), network, to, lab.Timeout(300*time.Millisecond))
		return err
	})
}

// says waits until Fairlead has logged something.
func (s *site) says(text string) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("Fairlead says %q", text), func() error {
		if !strings.Contains(s.log.String(), text) {
			return fmt.Errorf("it says:\n%s", s.log.String())
		}
		return nil
	})
}

// rules are the node's rules without counters and comments.
func (s *site) rules(f lab.Family) string {
	s.t.Helper()
	program := "iptables-" + s.variant + "-save"
	if f == lab.IPv6 {
		program = "ip6tables-" + s.variant + "-save"
	}
	out, err := s.node().Output(context.Background(), program)
	if err != nil {
		s.t.Fatal(err)
	}
	var rules strings.Builder
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		line, _, _ = strings.Cut(line, " [")
		rules.WriteString(strings.TrimSpace(line) + "\n")
	}
	return rules.String()
}

func forEachVariant(t *testing.T, test func(t *testing.T, variant string)) {
	for _, v := range variants {
		t.Run(v, func(t *testing.T) { test(t, v) })
	}
}
