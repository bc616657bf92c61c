package config

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files of TestEffectiveSettings")

// TestEffectiveSettings compares what Fairlead makes of files and flags with golden files, which start with what it logs about them:
// files as kubeadm 1.36 and 1.37 write them, the flags that k3s passes (kubeProxyArgs in its pkg/daemons/agent/agent_linux.go) to a node
// whose first address is IPv4 or IPv6, each mode, and fields that are not supported.
func TestEffectiveSettings(t *testing.T) {
	inputs, err := filepath.Glob("testdata/effective/*.*")
	if err != nil {
		t.Fatal(err)
	}
	inputs = append(inputs, "testdata/kubeadm.yaml")
	for _, input := range inputs {
		if filepath.Ext(input) == ".golden" {
			continue
		}
		t.Run(filepath.Base(input), func(t *testing.T) {
			args := []string{"--config=" + input}
			if filepath.Ext(input) == ".flags" {
				content, err := os.ReadFile(input)
				if err != nil {
					t.Fatal(err)
				}
				args = strings.Fields(string(content))
			}
			c, log, err := load(t, newLine(t, args...))
			if err != nil {
				t.Fatal(err)
			}
			settings, err := c.YAML()
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, filepath.Join("testdata/effective", filepath.Base(input)+".golden"), append(asComments(log), settings...))
		})
	}
}

func asComments(log string) []byte {
	var text []byte
	for line := range strings.Lines(log) {
		text = append(text, "# "+line...)
	}
	return text
}

func compareGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test ./pkg/config -run TestEffectiveSettings -update writes it", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("-want +got:\n%s", cmp.Diff(string(want), string(got)))
	}
}
