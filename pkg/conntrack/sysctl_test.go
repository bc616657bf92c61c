package conntrack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConntrackLimits(t *testing.T) {
	tests := []struct {
		name              string
		limits            Limits
		cpus              int
		max, hash         string
		wantMax, wantHash string
	}{
		{"are raised for the CPUs", Limits{32768, 131072}, 8, "65536", "16384", "262144", "65536"},
		{"have a floor", Limits{32768, 131072}, 1, "65536", "16384", "131072", "32768"},
		{"have a ceiling", Limits{32768, 131072}, 512, "65536", "16384", "1048576", "262144"},
		{"are never lowered", Limits{32768, 131072}, 2, "9000000\n", "9000000\n", "9000000\n", "9000000\n"},
		{"stay where nothing is asked for", Limits{0, 131072}, 8, "1", "1", "1", "1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			write := func(path, text string) string {
				file := filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				return file
			}
			maxFile := write("proc/sys/net/netfilter/nf_conntrack_max", test.max)
			hashFile := write("sys/module/nf_conntrack/parameters/hashsize", test.hash)
			if err := test.limits.apply(root, test.cpus); err != nil {
				t.Fatal(err)
			}
			for file, want := range map[string]string{maxFile: test.wantMax, hashFile: test.wantHash} {
				if got, _ := os.ReadFile(file); string(got) != want {
					t.Errorf("%s: got %q, want %q", file, got, want)
				}
			}
		})
	}
}

func TestMissingConntrackNamesTheModule(t *testing.T) {
	err := Limits{1, 1}.apply(t.TempDir(), 1)
	if err == nil || !strings.Contains(err.Error(), "nf_conntrack") {
		t.Errorf("got %v", err)
	}
}
