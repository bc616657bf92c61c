package xtables

import (
	"regexp"
	"strings"
	"testing"
)

func FuzzReadSaved(f *testing.F) {
	f.Add("*nat\n:PREROUTING ACCEPT [0:0]\n:FL-SERVICES - [0:0]\n-A PREROUTING -j FL-SERVICES\n-A FL-SERVICES -j ACCEPT\nCOMMIT\n")
	f.Add("-A PREROUTING -j FL-SERVICES\n*\n:FL-C-0a\n-A \n*nat")
	f.Add(":FL-SERVICES\n*nat\n-A FL-SERVICES")
	f.Add("*nat\n:FL-SERVICES - [0:0]\n:FLV-SERVICES - [0:0]\n-A OUTPUT -j FLV-SERVICES\n-A OUTPUT -p tcp -j FL-SERVICES\n")
	f.Add("*nat\n:FL-SERVICES - [0:0]\n[7:420] -A PREROUTING -j FL-SERVICES\n[0:0] -A FL-SERVICES -j ACCEPT\n[")
	owner := Owner{Prefix: "FL-", Counted: "FL-C", Ours: regexp.MustCompile(`^FL-(SERVICES|C-[0-9a-f]+)$`).MatchString}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := readSaved(strings.NewReader(text), owner)
		if err != nil {
			return
		}
		for table, chains := range s.chains {
			for name := range chains {
				if !owner.Ours(name) {
					t.Errorf("%s: %q is not ours", table, name)
				}
			}
		}
		for _, j := range s.jumps {
			if !owner.Ours(j.To) || strings.HasPrefix(j.From, owner.Prefix) {
				t.Errorf("%s: %q is not a jump from somebody else's chain into ours", j.Table, j)
			}
		}
	})
}
