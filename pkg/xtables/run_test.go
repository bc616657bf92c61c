package xtables

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
)

// script is a program that stands in for one of iptables.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "iptables")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	return path
}

func TestAProgramThatHangsIsKilledAndNamed(t *testing.T) {
	path := script(t, "exec sleep 3600")
	err := run(t.Context(), 50*time.Millisecond, path, nil, func(*exec.Cmd) {})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "50ms") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, time.Hour, path, nil, func(*exec.Cmd) {}); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("when Fairlead ends: %v", err)
	}
}

func TestWhatKeepsTheXtablesLockAwayIsToldApart(t *testing.T) {
	tests := []struct {
		name, said string
		status     string
		locked     bool
	}{
		{"held by another program", "Another app is currently holding the xtables lock; still 4s 0us time ahead to have a chance to grab the lock...", "4", true},
		{"held, in other words", "Another app is currently holding the xtables lock. Perhaps you want to use the -w option?", "4", true},
		{"no file for it", "Fatal: can't open lock file /run/xtables.lock: Read-only file system", "4", false},
		{"something else", "iptables: Bad rule (does a matching rule exist in that chain?).", "1", false},
	}
	jump := Jump{Table: "nat", From: "PREROUTING", To: "FL-SERVICES"}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := script(t, "echo \""+test.said+"\" >&2; exit "+test.status)
			tool := &tool{family: service.IPv4, variant: Legacy, restore: path, program: path}
			_, has := tool.Has(jump)
			for what, err := range map[string]error{"delete": tool.Delete(jump), "restore": tool.Restore(t.Context(), nil)} {
				if errors.Is(err, ErrLocked) != test.locked || !test.locked && !strings.Contains(err.Error(), test.said) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if test.status == "1" {
				if has != nil {
					t.Errorf("look: %v", has)
				}
			} else if errors.Is(has, ErrLocked) != test.locked {
				t.Errorf("look: %v", has)
			}
		})
	}
}

func TestABrokenIPv6HalfSpeaksForNoOtherVariant(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"iptables-legacy-save":  "echo '*mangle'; echo ':KUBE-IPTABLES-HINT - [0:0]'; echo '-A INPUT -j ACCEPT'; echo COMMIT",
		"ip6tables-legacy-save": "echo 'ip6tables-save: cannot initialize' >&2; exit 3",
		"iptables-nft-save":     ":",
		"ip6tables-nft-save":    ":",
	} {
		if err := os.Rename(script(t, text), filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", folder)
	if got, err := detect(t.Context()); got != Legacy || err != nil {
		t.Errorf("got %s, %v; kubelet uses legacy for IPv4", got, err)
	}
}
