package conntrack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

func TestConntrackTimeoutsAreSetWhereAskedFor(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "proc/sys/net/netfilter")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	names := []string{"tcp_timeout_established", "tcp_timeout_close_wait", "udp_timeout", "udp_timeout_stream", "tcp_be_liberal"}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, "nf_conntrack_"+name), []byte("7\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := (Timeouts{TCPEstablished: 24 * time.Hour, UDP: 30 * time.Second, TCPBeLiberal: true}).apply(root); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"86400", "7\n", "30", "7\n", "1"} {
		if got, _ := os.ReadFile(filepath.Join(dir, "nf_conntrack_"+names[i])); string(got) != want {
			t.Errorf("%s: got %q, want %q", names[i], got, want)
		}
	}
}

func TestMissingConntrackNamesTheModule(t *testing.T) {
	err := Limits{1, 1}.apply(t.TempDir(), 1)
	if err == nil || !strings.Contains(err.Error(), "nf_conntrack") {
		t.Errorf("got %v", err)
	}
}
