package tracer

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// kernel is an iptables variant in a network namespace of its own. The
// namespace lives as long as one shell command and nothing else is touched:
// even the lock is a file of the test.
type kernel struct {
	variant string // "legacy" or "nft"
	lock    string
}

// newKernel fails the test where there is no such variant or no right to use it.
func newKernel(t *testing.T, variant string) *kernel {
	t.Helper()
	k := &kernel{variant: variant, lock: filepath.Join(t.TempDir(), "lock")}
	for _, name := range []string{"unshare", "iptables-" + variant + "-restore", "ip6tables-" + variant + "-restore"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("no %s here: %v", name, err)
		}
	}
	for _, ipv6 := range []bool{false, true} {
		for _, table := range []string{"raw", "mangle", "nat", "filter"} {
			if failed, output := k.restore(t, ipv6, bare(table)); failed {
				t.Fatalf("table %s of %s does not work here: %s", table, variant, output)
			}
		}
	}
	return k
}

// restore applies text to a fresh namespace. It says whether that failed and
// returns the rules that are there then, or what was printed in their place.
func (k *kernel) restore(t *testing.T, ipv6 bool, text string) (failed bool, output string) {
	t.Helper()
	tool := "iptables-" + k.variant
	if ipv6 {
		tool = "ip6tables-" + k.variant
	}
	script := tool + "-restore -w 10 --noflush || echo RESTORE FAILED; " + tool + "-save"
	cmd := exec.Command("unshare", "-n", "sh", "-c", script)
	cmd.Env = append(cmd.Environ(), "XTABLES_LOCKFILE="+k.lock)
	cmd.Stdin = strings.NewReader(text)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return true, err.Error() + ": " + stderr.String()
	}
	if strings.Contains(stderr.String(), "missing kernel module") {
		t.Fatalf("the kernel lacks a module: %s", stderr.String())
	}
	rules, failed := strings.CutPrefix(string(out), "RESTORE FAILED\n")
	return failed, rules
}

// reordered prints what iptables-save printed without comments and counters
// and with the tables in the order of String. It relies on no parser.
func reordered(saved string) string {
	tables := map[string]string{}
	name := ""
	for line := range strings.Lines(saved) {
		if strings.HasPrefix(line, "*") {
			name = strings.TrimSpace(line[1:])
		}
		if strings.HasPrefix(line, ":") {
			line = line[:strings.LastIndex(line, " [")] + " [0:0]\n"
		}
		if !strings.HasPrefix(line, "#") {
			tables[name] += line
		}
	}
	// A kernel prints only the tables that were touched.
	fresh := New()
	all := ""
	for _, name := range []string{"raw", "mangle", "nat", "filter"} {
		if tables[name] == "" {
			one := &Ruleset{tables: map[string]*table{name: fresh.tables[name]}}
			tables[name] = one.String()
		}
		all += tables[name]
	}
	return all
}

func TestRestoreAsKernelsDo(t *testing.T) {
	cases := append(append(append([]restoreCase{}, commandCases...), matchCases...), targetCases...)
	for _, variant := range []string{"legacy", "nft"} {
		t.Run(variant, func(t *testing.T) {
			k := newKernel(t, variant)
			for _, c := range cases {
				if c.skip == variant {
					continue // this variant does something else
				}
				t.Run(c.name, func(t *testing.T) {
					compareWithKernel(t, k, c)
				})
			}
		})
	}
}

func compareWithKernel(t *testing.T, k *kernel, c restoreCase) {
	rs := New()
	err := rs.Restore(strings.NewReader(c.text))
	failed, saved := k.restore(t, c.ipv6, c.text)
	if c.stricter {
		if failed {
			t.Error("the kernel refuses this as well")
		}
		return
	}
	if failed != (err != nil) {
		t.Errorf("the kernel failed: %v; Restore: %v", failed, err)
	}
	if diff := cmp.Diff(reordered(saved), rs.String()); diff != "" {
		t.Errorf("after %s (-kernel +String):\n%s", c.text, diff)
	}
	if _, err := Parse(strings.NewReader(saved)); err != nil {
		t.Errorf("Parse of what the kernel prints: %v", err)
	}
}
