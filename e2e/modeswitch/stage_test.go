//go:build ipvs

package modeswitch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/e2e/tier"
	"github.com/fairlead/fairlead/e2e/traffic"
	"github.com/fairlead/fairlead/pkg/config"
)

// stage is a site with a Service and every path to it.
type stage struct {
	*site.Site
	t       *testing.T
	traffic *traffic.Stage
	process *lab.Process
	file    string // the configuration
}

func newStage(t *testing.T, variant string) *stage {
	t.Helper()
	s := &stage{Site: site.New(t, variant), t: t, file: filepath.Join(t.TempDir(), "config.yaml")}
	s.traffic = traffic.NewStage(t, s.Site)
	s.traffic.DropForwarded(t)
	s.Write("stage", s.traffic.Objects()...)
	return s
}

// follow runs a Fairlead that follows the stage's file, and waits until it serves.
func (s *stage) follow() {
	s.t.Helper()
	s.serves("--config", s.file)
}

func (s *stage) serves(flags ...string) {
	s.t.Helper()
	before := s.Log.Count(firstSync)
	process, err := s.Node().StartProcess(site.Program, append([]string{"--hostname-override", s.Node().Name, "-v", "2"}, flags...), &s.Log)
	if err != nil {
		s.t.Fatal(err)
	}
	s.process = process
	s.says(firstSync, before+len(lab.Families))
}

// settings of a Fairlead in the lab, by mode, range of pods, variant and folder of manifests.
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

// set replaces the file.
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

// What Fairlead logs.
const (
	firstSync = "Synced for the first time"
	switched  = "Switched the mode"
	draining  = "Connections of the former mode go on"
)

// says waits until Fairlead has logged something so many times.
func (s *stage) says(text string, times int) {
	s.t.Helper()
	s.Eventually(fmt.Sprintf("Fairlead logs %q %d times", text, times), func() error {
		if n := s.Log.Count(text); n < times {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
}

// switchLimit is how long a switch may take on a machine that is busy with other things. It only ends a run that fails.
var switchLimit = lab.Patience(3 * time.Minute)

// switchTo changes the mode and waits until it is in force in both families.
func (s *stage) switchTo(mode config.Mode) {
	s.t.Helper()
	before := s.Log.Count(switched)
	s.set(mode)
	s.Within(switchLimit, fmt.Sprintf("%s mode is in force in both families", mode), func() error {
		if n := s.Log.Count(switched) - before; n < len(lab.Families) {
			return fmt.Errorf("in %d", n)
		}
		return nil
	})
	s.t.Logf("%s: switched to %s mode", time.Now().Format(time.TimeOnly), mode)
}

// run starts traffic on some of the paths. It leaves some of the emulated processors to Fairlead.
func (s *stage) run(targets []traffic.Target) *traffic.Traffic {
	s.t.Helper()
	return traffic.Run(s.t, traffic.Options{Targets: targets, Standing: tier.Count(48, 100), Flows: 16, Rate: tier.Count(25, 50), Beat: time.Second})
}

// connections adds those that IPVS knows to known, by client, virtual server and endpoint, and returns how many are new. Its statistics
// would not do: the kernel brings them up to date every two seconds only (ip_vs_est.c).
func (s *stage) connections(known map[string]struct{}) (added int) {
	s.t.Helper()
	out, err := s.Node().Output(context.Background(), "ipvsadm", "-Lnc")
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		// Protocol, remaining time, state, client, virtual server and endpoint.
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[0] != "TCP" && fields[0] != "UDP" {
			continue
		}
		c := fields[0] + " " + strings.Join(fields[3:], " ")
		if _, old := known[c]; !old {
			known[c] = struct{}{}
			added++
		}
	}
	return added
}

// inForce waits until new connections go by a mode, and by that one alone. The kernel's list of connections may lack some while others come
// and go, so in iptables mode an old one may look new once; a way that leads to IPVS shows with each question that is asked by it.
func (s *stage) inForce(mode config.Mode, flow *traffic.Traffic) {
	s.t.Helper()
	flow.More(s.t, 2) // what was under way has been answered then
	known := map[string]struct{}{}
	s.connections(known)
	s.Eventually("new connections go by "+string(mode)+" mode", func() error {
		flow.More(s.t, 1) // from each target
		if added := s.connections(known); (added > 0) != (mode == config.ModeIPVS) {
			return fmt.Errorf("IPVS has scheduled %d new connections", added)
		}
		return nil
	})
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

// drainLimit is how long a mode may stay after its last connection: a UDP flow counts for 30 seconds more, and to look at every connection
// of a busy kernel may take a while. Nothing depends on it but how soon a broken run ends.
var drainLimit = lab.Patience(3 * time.Minute)

// gone waits until nothing of a mode is left in the kernel.
func (s *stage) gone(mode config.Mode) {
	s.t.Helper()
	start := time.Now()
	s.Within(drainLimit, fmt.Sprintf("nothing of %s mode is left", mode), func() error {
		if left := s.remains(mode); len(left) > 0 {
			return fmt.Errorf("%d things are left, such as %s", len(left), left[0])
		}
		return nil
	})
	s.t.Logf("nothing of %s mode is left after %v", mode, time.Since(start).Round(time.Second))
}
