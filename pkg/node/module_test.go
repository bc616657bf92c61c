package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadModule(t *testing.T) {
	tests := []struct {
		name    string
		present []bool // what is said, call by call
		program string // what modprobe does; empty: there is none
		words   []string
	}{
		{"nothing is run where it is there already", []bool{true}, "exit 1", nil},
		{"it is loaded", []bool{false, true}, "exit 0", nil},
		{"it has come by itself, whatever modprobe says", []bool{false, true}, "exit 1", nil},
		{"modprobe fails", []bool{false, false}, "echo not found in directory; exit 1", []string{"IPVS mode", "ip_vs", "not found in directory", "/lib/modules"}},
		{"there is no modprobe", []bool{false}, "", []string{"IPVS mode", "no modprobe", "modprobe ip_vs"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			was := modprobe
			defer func() { modprobe = was }()
			modprobe = []string{filepath.Join(t.TempDir(), "modprobe")}
			if test.program != "" {
				if err := os.WriteFile(modprobe[0], []byte("#!/bin/sh\n"+test.program+"\n"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			calls := 0
			err := LoadModule(t.Context(), "ip_vs", "IPVS mode", func() bool { calls++; return test.present[calls-1] })
			if (err == nil) != (test.words == nil) {
				t.Fatalf("got %v", err)
			}
			for _, word := range test.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}
