package ipvs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVersionsOfTheKernelAreCompared(t *testing.T) {
	tests := map[string]struct{ is, known bool }{
		"6.1.0-56-cloud-amd64": {true, true},
		"5.15.0-1.el7":         {true, true},
		"5.10":                 {true, true},
		"5.9-rc1":              {true, true},
		"6.18+":                {true, true},
		"5.8.18":               {false, true},
		"4.18.0-553.el8_10":    {false, true},
		"4.19.0":               {false, true},
		"":                     {true, false},
		"custom":               {true, false},
		"v6.1":                 {true, false},
		"6":                    {true, false},
	}
	for release, test := range tests {
		t.Run(release, func(t *testing.T) {
			if is, known := atLeast(release, 5, 9); is != test.is || known != test.known {
				t.Errorf("got %v, %v", is, known)
			}
		})
	}
}

// fresh is a kernel's settings as they are at first, with IPVS loaded.
var fresh = map[string]string{
	"net/ipv4/vs/conntrack": "0", "net/ipv4/vs/expire_nodest_conn": "0", "net/ipv4/vs/expire_quiescent_template": "0",
	"net/ipv4/vs/conn_reuse_mode": "1", "net/ipv4/ip_forward": "0", "net/ipv4/conf/all/arp_ignore": "0", "net/ipv4/conf/all/arp_announce": "0",
}

func proc(t *testing.T, settings map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, value := range settings {
		file := filepath.Join(root, path)
		must(t, os.MkdirAll(filepath.Dir(file), 0o755))
		must(t, os.WriteFile(file, []byte(value+"\n"), 0o644))
	}
	return root
}

func TestSysctlsAreSet(t *testing.T) {
	tests := map[string]struct {
		release string
		strict  bool
		want    map[string]string
	}{
		"that IPVS needs": {"6.1.0", false, map[string]string{
			"net/ipv4/vs/conntrack": "1", "net/ipv4/vs/expire_nodest_conn": "1", "net/ipv4/vs/expire_quiescent_template": "1",
			"net/ipv4/vs/conn_reuse_mode": "1", "net/ipv4/ip_forward": "1", "net/ipv4/conf/all/arp_ignore": "0", "net/ipv4/conf/all/arp_announce": "0",
		}},
		"for strict ARP":            {"6.1.0", true, map[string]string{"net/ipv4/conf/all/arp_ignore": "1", "net/ipv4/conf/all/arp_announce": "2"}},
		"around a bug before 5.9":   {"5.8.0", false, map[string]string{"net/ipv4/vs/conn_reuse_mode": "0"}},
		"as for 5.9 where unknown":  {"odd", false, map[string]string{"net/ipv4/vs/conn_reuse_mode": "1"}},
		"for a bug that is no more": {"5.9.0", false, map[string]string{"net/ipv4/vs/conn_reuse_mode": "1"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			root := proc(t, fresh)
			must(t, applySysctlsBelow(t.Context(), root, test.release, test.strict))
			for path, want := range test.want {
				text, err := os.ReadFile(filepath.Join(root, path))
				must(t, err)
				if got := strings.TrimSpace(string(text)); got != want {
					t.Errorf("%s: got %s, want %s", path, got, want)
				}
			}
		})
	}
}

func TestSysctlsThatAreRightAreNotWritten(t *testing.T) {
	root := proc(t, fresh)
	must(t, applySysctlsBelow(t.Context(), root, "6.1.0", true))
	file := filepath.Join(root, "net/ipv4/vs/conntrack")
	before, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte("1 \n"), 0o644))
	must(t, applySysctlsBelow(t.Context(), root, "6.1.0", true))
	if after, _ := os.ReadFile(file); string(after) != "1 \n" {
		t.Errorf("got %q, was %q", after, before)
	}
}

func TestSysctlsThatCannotBeSetAreNamed(t *testing.T) {
	tests := map[string]struct {
		spoil func(t *testing.T, root string)
		want  []string
	}{
		"all of them without IPVS": {
			func(t *testing.T, root string) { must(t, os.RemoveAll(filepath.Join(root, "net/ipv4/vs"))) },
			[]string{"net.ipv4.vs.conntrack has to be 1", "net.ipv4.vs.conn_reuse_mode has to be 1", "net.ipv4.vs.expire_nodest_conn has to be 1", "ip_vs"},
		},
		"one that cannot be read": {
			func(t *testing.T, root string) {
				file := filepath.Join(root, "net/ipv4/ip_forward")
				must(t, os.Remove(file))
				must(t, os.Mkdir(file, 0o755))
			},
			[]string{"net.ipv4.ip_forward has to be 1"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			root := proc(t, fresh)
			test.spoil(t, root)
			err := applySysctlsBelow(t.Context(), root, "6.1.0", false)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in %v", want, err)
				}
			}
		})
	}
}
