package xtables

import (
	"context"
	"os/exec"
	"testing"
	"time"
)

func TestOnlyWhatIsSaidAboutRulesIsARefusal(t *testing.T) {
	nftRefusal := "iptables-nft-restore v1.8.9 (nf_tables): line 3: RULE_APPEND failed (Invalid argument): rule in chain X"
	for _, test := range []struct {
		name, script, said string
		want               bool
	}{
		{"legacy: the kernel refuses a table", "exit 1", "iptables-restore: line 4 failed", true},
		{"a match is not known", "exit 2", "Couldn't load match `nosuch'", true},
		{"nft: the kernel refuses a rule", "exit 4", nftRefusal, true},
		{"nft: the kernel has no memory", "exit 4", "line 3: RULE_APPEND failed (Cannot allocate memory): rule in chain X", false},
		{"nft: the kernel cannot be asked", "exit 4", "Could not fetch rule set generation id: Permission denied (you must be root)", false},
		{"the lock's file cannot be opened", "exit 4", "Fatal: can't open lock file /run/xtables.lock", false},
		{"EAGAIN", "exit 1", "iptables-restore: Resource temporarily unavailable.", false},
		{"killed", "kill -9 $$", "", false},
		{"an unknown status", "exit 3", "", false},
	} {
		err := exec.CommandContext(t.Context(), "sh", "-c", test.script).Run()
		if got := refusesRules(err, test.said); got != test.want {
			t.Errorf("%s: %t, want %t", test.name, got, test.want)
		}
	}
	if refusesRules(exec.CommandContext(t.Context(), "/no/such/program").Run(), "") {
		t.Error("a program that is not there has refused rules")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if refusesRules(run(ctx, time.Minute, "sleep", []string{"60"}, func(*exec.Cmd) {}), "") {
		t.Error("a program that was stopped has refused rules")
	}
}
