//go:build ipvs

package ipvs

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

const noIPVS = "the kernel has no IPVS"

// TestAbsentIPVSIsNamedAndWaitedFor needs a kernel that has not loaded IPVS, and so is the first test of this package.
func TestAbsentIPVSIsNamedAndWaitedFor(t *testing.T) {
	if loaded() {
		t.Fatal("IPVS is loaded already: run this test first")
	}
	s := site.New(t, "nft")
	server, client := s.Pod(s.Node(), "server", 8080), s.Pod(s.Node(), "client", 9000)
	s.Write("web", site.DualStack("web", 10, "80"))
	for _, f := range lab.Families {
		s.Write("web-"+f.String(), site.Slice(f, "web", "8080", site.At(f, server, s.Node())))
	}
	before := seen(t, s)
	modules := withoutModules(t)
	s.Start("--ipvs-strict-arp")
	s.Says(noIPVS + ": load its module on the node (modprobe ip_vs; in a container that needs the node's /lib/modules mounted), or use --proxy-mode=iptables")
	// It says so once, after the first try, and does not log the others: reading all settings takes long enough to see what else it does.
	waiting := seen(t, s)
	s.Stop(syscall.SIGTERM)
	for when, state := range map[string]map[string]string{"while it waits": waiting, "when it has ended": seen(t, s)} {
		if diff := cmp.Diff(before, state); diff != "" {
			t.Errorf("%s, Fairlead has touched something (-before +after):\n%s", when, diff)
		}
	}
	modules()
	if out, err := s.Node().Output(t.Context(), site.Program, "cleanup"); err != nil {
		t.Errorf("cleanup: %v\n%s", err, out)
	}
	if loaded() {
		t.Error("cleanup loads IPVS")
	}

	modules = withoutModules(t)
	s.Start()
	s.Eventually("it is said again", func() error {
		if n := s.Log.CountErrors(noIPVS); n != 2 {
			return fmt.Errorf("it is said %d times", n)
		}
		return nil
	})
	modules()
	for _, f := range lab.Families {
		s.Answers(client, "tcp", vip(f, 10, 80))
	}
	if n := s.Log.CountErrors(noIPVS); n != 2 {
		t.Errorf("it is said %d times", n)
	}
}

func loaded() bool {
	modules, err := os.ReadFile("/proc/modules")
	return err != nil || strings.Contains("\n"+string(modules), "\nip_vs ")
}

// seen is what Fairlead might touch: rules and settings of the kernel. It cannot make sets without rules that load their modules.
func seen(t *testing.T, s *site.Site) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, f := range lab.Families {
		all[f.String()] = s.Rules(f)
	}
	err := s.Node().Do(func() error {
		settings, err := sysctls("/proc/sys/net")
		maps.Copy(all, settings)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sysctls reads the settings below a folder, without those that count.
func sysctls(root string) (map[string]string, error) {
	settings := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "nf_conntrack_count") {
			return err
		}
		if value, err := os.ReadFile(path); err == nil { // some can only be written
			settings[path] = string(value)
		}
		return nil
	})
	return settings, err
}

// withoutModules keeps the kernel from loading modules. What it returns ends that; so does the test's end.
func withoutModules(t *testing.T) (end func()) {
	t.Helper()
	const file = "/proc/sys/kernel/modprobe"
	was, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte("\n"), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	end = func() {
		if err := os.WriteFile(file, was, 0); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return end
}
