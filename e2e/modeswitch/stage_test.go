//go:build ipvs

package modeswitch

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/e2e/traffic"
	"github.com/fairlead/fairlead/pkg/config"
)

// stage is a site with a Service and every way in to it.
type stage struct {
	*site.Site
	t       *testing.T
	traffic *traffic.Stage
	file    string // the configuration
}

func newStage(t *testing.T, variant string) *stage {
	t.Helper()
	s := &stage{Site: site.New(t, variant), t: t, file: filepath.Join(t.TempDir(), "config.yaml")}
	s.traffic = traffic.NewStage(t, s.Site)
	s.Write("stage", s.traffic.Objects()...)
	return s
}

// start runs Fairlead on the node by flags, as a lab needs them, and waits until it serves.
func (s *stage) start(mode config.Mode) *lab.Process {
	s.t.Helper()
	return s.serves("--cluster-cidr", site.PodCIDRs, "--iptables-variant", s.Variant, "--conntrack-max-per-core", "0", "--manifests", s.Manifests,
		"--iptables-min-sync-period", "100ms", "--ipvs-min-sync-period", "100ms", "--proxy-mode", string(mode))
}

// follows runs a Fairlead that follows the stage's file, and waits until it serves.
func (s *stage) follows(mode config.Mode) {
	s.t.Helper()
	s.set(mode)
	s.serves("--config", s.file)
}

func (s *stage) serves(flags ...string) *lab.Process {
	s.t.Helper()
	said := s.Log.Count(firstSync)
	process, err := s.Node().StartProcess(site.Program, append([]string{"--hostname-override", s.Node().Name, "-v", "2"}, flags...), &s.Log)
	if err != nil {
		s.t.Fatal(err)
	}
	s.says(firstSync, said+len(lab.Families))
	return process
}

// settings are the same as the flags of start, by mode, range of pods, variant and folder of manifests.
const settings = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: %s
clusterCIDR: %s
conntrack: {maxPerCore: 0}
iptables: {minSyncPeriod: 100ms}
ipvs: {minSyncPeriod: 100ms}
---
apiVersion: fairlead.dev/v1alpha1
kind: FairleadConfiguration
iptables: {variant: %s}
manifests: %s
`

// set writes the file anew, in place of the one before.
func (s *stage) set(mode config.Mode) {
	s.t.Helper()
	next := s.file + ".new"
	if err := os.WriteFile(next, fmt.Appendf(nil, settings, mode, site.PodCIDRs, s.Variant, s.Manifests), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(next, s.file); err != nil {
		s.t.Fatal(err)
	}
}

// What Fairlead says.
const (
	firstSync = "Synced for the first time"
	switched  = "Switched the mode"
)

// says waits until Fairlead has said something so many times. A switch under traffic takes its time where all is emulated.
func (s *stage) says(text string, times int) {
	s.t.Helper()
	for deadline := time.Now().Add(lab.Patience(time.Minute)); s.Log.Count(text) < times; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("Fairlead said %q %d times, want %d", text, s.Log.Count(text), times)
		}
	}
}

// switchTo changes the mode and waits until it is in force in both families.
func (s *stage) switchTo(mode config.Mode) {
	s.t.Helper()
	said := s.Log.Count(switched)
	s.set(mode)
	s.says(switched, said+len(lab.Families))
}

// How much traffic there is; less, on a machine that is busy with other things.
var (
	standing = flag.Int("standing", 100, "standing TCP connections")
	flows    = flag.Int("flows", 16, "UDP flows")
	rate     = flag.Int("rate", 200, "new connections a second, or as many as the machine can make")
)

// run starts traffic.
func (s *stage) run() *traffic.Traffic {
	s.t.Helper()
	s.traffic.Await()
	t, err := traffic.Start(s.t.Context(), traffic.Options{Targets: s.traffic.Targets, Standing: *standing, Flows: *flows, Rate: *rate})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("traffic is on: %v", t.Report())
	return t
}

// remains is what a mode has in the node's kernel.
func (s *stage) remains(mode config.Mode) []string {
	s.t.Helper()
	prefix, left := "FL-", []string(nil)
	if mode == config.ModeIPVS {
		prefix = "FLV"
		left = s.ipvsRemains()
	}
	for _, f := range lab.Families {
		for line := range strings.Lines(s.Rules(f)) {
			if strings.Contains(line, prefix) {
				left = append(left, strings.TrimSpace(line))
			}
		}
	}
	return left
}

// ipvsRemains is what IPVS mode has beside rules.
func (s *stage) ipvsRemains() []string {
	s.t.Helper()
	var list []string
	out, err := s.Node().Output(context.Background(), "ipvsadm", "-Sn")
	if err != nil {
		s.t.Fatal(err)
	}
	list = append(list, strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })...)
	err = s.Node().Do(func() error {
		sets, err := netlink.IpsetListAll()
		for _, set := range sets {
			if strings.HasPrefix(set.SetName, "FLV") {
				list = append(list, "set "+set.SetName)
			}
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// gone waits until nothing of a mode is left in the kernel, and returns how long that took.
func (s *stage) gone(mode config.Mode, limit time.Duration) {
	s.t.Helper()
	start := time.Now()
	for {
		left := s.remains(mode)
		if len(left) == 0 {
			s.t.Logf("nothing of %s mode is left after %v", mode, time.Since(start).Round(time.Second))
			return
		}
		if time.Since(start) > limit {
			s.t.Fatalf("after %v this is left of %s mode: %d things, such as %s", limit, mode, len(left), left[0])
		}
		time.Sleep(time.Second)
	}
}
