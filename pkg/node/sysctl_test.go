package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write makes a file with its folders, and returns its name.
func write(t *testing.T, root, path, text string) string {
	t.Helper()
	file := filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAllowLoopbackRouting(t *testing.T) {
	tests := map[string]struct{ have, want string }{
		"is turned on":                    {"0\n", "1"},
		"is not written where it is on":   {"1\n", "1\n"},
		"is turned on from a wrong value": {"2\n", "1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			file := write(t, root, routeLocalnet, test.have)
			if err := allowLoopbackRouting(root); err != nil {
				t.Fatal(err)
			}
			if got, _ := os.ReadFile(file); string(got) != test.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestAllowLoopbackRoutingInTheKernel(t *testing.T) {
	host, _ := newHost(t)
	err := host.Do(func() error {
		if err := AllowLoopbackRouting(); err != nil {
			return err
		}
		return AllowLoopbackRouting()
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := host.Output(t.Context(), "cat", "/proc/sys/net/ipv4/conf/all/route_localnet")
	if err != nil || strings.TrimSpace(got) != "1" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTCPBeLiberal(t *testing.T) {
	for text, want := range map[string]bool{"0\n": false, "1\n": true} {
		root := t.TempDir()
		write(t, root, tcpBeLiberal, text)
		if got, err := readTCPBeLiberal(root); err != nil || got != want {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
}

func TestSysctlErrorsNameTheFileAndTheMend(t *testing.T) {
	readTCP := func(root string) error {
		_, err := readTCPBeLiberal(root)
		return err
	}
	tests := map[string]struct {
		run     func(root string) error
		prepare func(t *testing.T, root string)
		words   []string
	}{
		"where /proc is absent": {
			allowLoopbackRouting, func(*testing.T, string) {},
			[]string{routeLocalnet, "no such file"},
		},
		"where nothing can be written": {
			allowLoopbackRouting, func(t *testing.T, root string) { readOnly(t, write(t, root, routeLocalnet, "0")) },
			[]string{routeLocalnet, "net.ipv4.conf.all.route_localnet=1", "init container"},
		},
		"where the module is absent": {readTCP, func(*testing.T, string) {}, []string{tcpBeLiberal, "load the module nf_conntrack"}},
		"where the value is strange": {
			readTCP, func(t *testing.T, root string) { write(t, root, tcpBeLiberal, "maybe") },
			[]string{tcpBeLiberal, `"maybe"`},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			test.prepare(t, root)
			err := test.run(root)
			if err == nil {
				t.Fatal("no error")
			}
			for _, word := range test.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}

// readOnly makes writing a file an error, for root too.
func readOnly(t *testing.T, file string) {
	t.Helper()
	if os.Geteuid() != 0 {
		if err := os.Chmod(file, 0o444); err != nil {
			t.Fatal(err)
		}
		return
	}
	// A file of the kernel that nobody may write.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/proc/sys/kernel/osrelease", file); err != nil {
		t.Fatal(err)
	}
}

func TestForbidLoopbackRouting(t *testing.T) {
	root := t.TempDir()
	file := write(t, root, routeLocalnet, "1\n")
	if err := canAllowLoopbackRouting(root); err != nil {
		t.Error(err)
	}
	if err := forbidLoopbackRouting(root); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(file); string(got) != "0" {
		t.Errorf("got %q", got)
	}
	if err := canAllowLoopbackRouting(t.TempDir()); err == nil || !strings.Contains(err.Error(), "net.ipv4.conf.all.route_localnet=1") {
		t.Errorf("without the sysctl: %v", err)
	}
}
